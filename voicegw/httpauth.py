"""Who may read calls and recordings: this machine, or whoever knows `http.token`.

From this machine means: the connection comes from a loopback address, was not passed on by a proxy, and
asks for a local name. The last keeps web pages out that point a name of theirs at 127.0.0.1 (DNS
rebinding).
"""

import base64
import binascii
import hmac
from ipaddress import ip_address

from aiohttp import web

PUBLIC = frozenset({"/health", "/health/live", "/health/ready", "/healthz", "/metrics"})
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def refusal(request: web.Request, token: str, public: tuple[str, ...] = ()) -> web.Response | None:
    """The answer for somebody who may not read this; None: go on. Paths that begin with one of `public`
    are nobody's business here (voicegw/mount.py)."""
    if request.path in PUBLIC or (public and request.path.startswith(public)):
        return None
    if _foreign_page(request):
        return web.Response(status=403, text="Pages of other sites may change nothing here.\n")
    if _is_local(request) or _knows(request, token):
        return None
    if not token:
        text = "Calls can be read from this machine only. Set http.token to read them from elsewhere.\n"
        return web.Response(status=403, text=text)
    challenge = {"WWW-Authenticate": 'Basic realm="voicegw", charset="UTF-8"'}
    return web.Response(status=401, text="The token (http.token) is needed.\n", headers=challenge)


def _is_local(request: web.Request) -> bool:
    if any(name in request.headers for name in _FORWARDED):
        return False
    try:
        address = ip_address((request.remote or "").split("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback and _host_name(request.host) in _LOCAL_NAMES


def _foreign_page(request: web.Request) -> bool:
    """Whether a page of another site asks, in the browser of somebody who may, for more than reading."""
    origin = request.headers.get("Origin")
    if request.method in ("GET", "HEAD", "OPTIONS") or origin is None:
        return False
    return origin.partition("://")[2].lower() != request.host.lower()


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].split("]", maxsplit=1)[0]
    return host.rsplit(":", 1)[0].lower() if host.count(":") == 1 else host.lower()


def _knows(request: web.Request, token: str) -> bool:
    if not token:
        return False
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    given = given.strip()
    if scheme.lower() == "basic":  # browsers: any user name, the token as password
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.encode(), token.encode())
