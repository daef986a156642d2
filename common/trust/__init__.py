"""Who is who: a certificate authority of one federation, its server certificate, a key a site."""

from common.trust.authority import Authority, check_certificate, new_authority, server_certificate
from common.trust.files import write_private, write_public
from common.trust.site_key import (
    certificate_fingerprint,
    comment_of,
    fingerprint,
    new_site_key,
    public_key_line,
    read_public_key,
)

__all__ = [
    "Authority",
    "certificate_fingerprint",
    "check_certificate",
    "comment_of",
    "fingerprint",
    "new_authority",
    "new_site_key",
    "public_key_line",
    "read_public_key",
    "server_certificate",
    "write_private",
    "write_public",
]
