"""Who is at the other end of a web request: somebody on this machine, somebody who knows a secret."""

import hmac
from ipaddress import ip_address

from aiohttp import web

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_local(request: web.Request) -> bool:
    """Whether it comes from a loopback address, was not passed on by a proxy, and asks for a local name. The
    last keeps web pages out that point a name of theirs at 127.0.0.1 (DNS rebinding)."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        address = ip_address((request.remote or "").split("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback and _host_name(request.host) in _LOCAL_NAMES


def same_secret(given: str, right: str) -> bool:
    """Compare in a time that tells nothing. `given` may be any text, bytes that are no UTF-8 among them: as
    headers bring them."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), right.encode())


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].split("]", maxsplit=1)[0]
    return host.rsplit(":", 1)[0].lower() if host.count(":") == 1 else host.lower()
