"""The seam between the web server and those who answer requests of their own: carriers, the softphone."""

from collections.abc import Iterable
from typing import Protocol

from aiohttp import web


class Mount(Protocol):
    """A part of the application that the web server carries."""

    @property
    def public(self) -> tuple[str, ...]:
        """Beginnings of paths that answer strangers, such as "/twilio/": whoever serves them checks himself
        who asks (a signature, a token). All other paths need `http.token` unless asked from this machine."""

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What is answered. Handlers may set headers of their own, a content security policy too."""
