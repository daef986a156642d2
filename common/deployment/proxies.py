"""A hospital's HTTP proxy: for the way out, and never between programs of one machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.request import getproxies, proxy_bypass

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_NAMES = ("no_proxy", "NO_PROXY")


def direct_on_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """Give the variables by which no program asks a proxy for this machine's own ports.

    With ``HTTP_PROXY`` alone, the answers of a site's worker would go to the proxy, unencrypted,
    before they come to its SuperNode.

    Parameters
    ----------
    environment : mapping of str to str
        What is set already; exceptions that it names stay.
    """
    # The lower-case name wins, as in Python's own readers of these variables.
    found = next((environment[name] for name in _NAMES if environment.get(name)), "")
    named = [one.strip() for one in found.split(",") if one.strip()]
    return dict.fromkeys(_NAMES, ",".join([*named, *(o for o in _LOOPBACK if o not in named)]))


def proxy_of(host: str) -> str | None:
    """Give the URL of the proxy that TLS connections to a host go through; None for none."""
    proxies = getproxies()
    address = proxies.get("https") or proxies.get("all")
    if not address or proxy_bypass(host):
        return None
    return address if "://" in address else f"http://{address}"


def set_direct_on_loopback() -> None:
    """Set them for this process and all that it starts."""
    os.environ.update(direct_on_loopback(os.environ))
