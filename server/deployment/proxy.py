"""The reverse proxy before Flower's SuperLink: the only way in, and only to the Fleet API.

One port of the SuperLink carries the Fleet, Control and Runtime APIs, and whoever reaches the
Control API can start code at every site. So the SuperLink listens on loopback, and nginx passes on
what is below ``/v1/fleet/``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from common.deployment.ports import LOOPBACK
from common.errors import SettingsError
from server.deployment.settings import CoordinatorFile

CONFIGURATION = "nginx.conf"
# Within double quotes.
_UNREADABLE = re.compile(r'["$\\\r\n]')

_TEXT = """\
# Made by dermafed from coordinator.toml; changes here are lost at the next start.
daemon off;
{user}worker_processes 1;
pid "{folder}/proxy/nginx.pid";
error_log stderr warn;

events {{ worker_connections 1024; }}

http {{
    # A site's address is nobody's business here: who it is, its key says.
    access_log off;
    server_tokens off;
    client_body_temp_path "{folder}/proxy/body";
    proxy_temp_path "{folder}/proxy/answer";
    fastcgi_temp_path "{folder}/proxy/unused";
    uwsgi_temp_path "{folder}/proxy/unused";
    scgi_temp_path "{folder}/proxy/unused";

    limit_conn_zone $binary_remote_addr zone=connections:1m;

    server {{
        listen {listen}:{port} ssl;
        ssl_certificate "{folder}/server.pem";
        ssl_certificate_key "{folder}/server.key";
        ssl_protocols TLSv1.3;

        limit_conn connections 64;
        # Flower cuts what is larger into pieces of 20 MB.
        client_max_body_size 64m;
        client_body_timeout 60s;
        client_header_timeout 20s;

        # Nothing but the Fleet API. With a path of its own, proxy_pass sends the path that was
        # matched; without one it would send what the site wrote, such as /v1/control/../fleet/.
        location /v1/fleet/ {{
            proxy_pass https://{loopback}:{flower_port}/v1/fleet/;
            proxy_ssl_trusted_certificate "{folder}/authority.pem";
            proxy_ssl_verify on;
            proxy_ssl_name localhost;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            # Straight through: nothing of a site touches a disk here.
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_read_timeout 300s;
        }}
        # Else nginx would answer this one with where to go.
        location = /v1/fleet {{ return 403; }}
        location / {{ return 403; }}
    }}
}}
"""


def proxy_configuration(folder: Path, settings: CoordinatorFile) -> str:
    """Write nginx's configuration.

    Parameters
    ----------
    folder : Path
        Of the coordinator, absolute.
    settings : CoordinatorFile
        Its ports and names.

    Raises
    ------
    SettingsError
        If nginx cannot read the folder's name.
    """
    if _UNREADABLE.search(str(folder)):
        raise SettingsError(
            f"{folder}: nginx cannot read a name with quotes, a dollar, a backslash or a line "
            "break; choose another --folder"
        )
    # nginx knows `user` only where it may change it.
    user = "user root;\n" if os.geteuid() == 0 else ""
    return _TEXT.format(
        folder=folder,
        user=user,
        listen=f"[{settings.listen}]" if ":" in settings.listen else settings.listen,
        port=settings.port,
        flower_port=settings.flower_port,
        loopback=LOOPBACK,
    )


def write_proxy_configuration(folder: Path, settings: CoordinatorFile) -> Path:
    """Write it into the coordinator's folder, and give its path."""
    (folder / "proxy").mkdir(exist_ok=True, mode=0o700)
    path = folder / CONFIGURATION
    path.write_text(proxy_configuration(folder, settings), encoding="utf-8")
    return path
