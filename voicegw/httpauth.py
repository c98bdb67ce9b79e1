"""Who may read calls and recordings, and take part in them: this machine (`sip.webpeer.is_local`), or whoever
knows `http.token`."""

import base64
import binascii

from aiohttp import web

from sip.webpeer import is_local, same_secret

PUBLIC = frozenset({"/health", "/health/live", "/health/ready", "/healthz", "/metrics"})


def refusal(request: web.Request, token: str, public: tuple[str, ...] = ()) -> web.Response | None:
    """The answer for somebody who may not read this; None: go on. Paths that begin with one of `public`
    are nobody's business here (voicegw/mount.py)."""
    if request.path in PUBLIC or (public and request.path.startswith(public)):
        return None
    if _foreign_page(request):
        return web.Response(status=403, text="Pages of other sites may change nothing here.\n")
    if is_local(request) or _knows(request, token):
        return None
    if not token:
        text = "Calls can be read from this machine only. Set http.token to read them from elsewhere.\n"
        return web.Response(status=403, text=text)
    challenge = {"WWW-Authenticate": 'Basic realm="voicegw", charset="UTF-8"'}
    return web.Response(status=401, text="The token (http.token) is needed.\n", headers=challenge)


def _foreign_page(request: web.Request) -> bool:
    """Whether a page of another site asks, in the browser of somebody who may, for more than reading."""
    origin = request.headers.get("Origin")
    if request.method in ("GET", "HEAD", "OPTIONS") or origin is None:
        return False
    return origin.partition("://")[2].lower() != request.host.lower()


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
    return same_secret(given, token)
