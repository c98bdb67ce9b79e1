"""Which flow answers which call: by what the carrier was told, header, number, registered phone, default."""

from collections.abc import Collection

from media.leg import CallInfo
from voicegw.config.model import Routing
from voicegw.extension import EXTENSION


class Router:
    """Looks a call up in the routing table."""

    def __init__(self, table: Routing, flows: Collection[str], extensions: Collection[str] = ()) -> None:
        """`flows` are the names of loaded flows, the default one first; the table names no other.
        `extensions` are numbers and names of registered phones."""
        self._flows, self._extensions = frozenset(flows), frozenset(extensions)
        self._header, self._headers = table.header.lower(), dict(table.headers)
        self._exact = {n: flow for n, flow in table.numbers.items() if not n.endswith("*")}
        patterns = {n[:-1]: flow for n, flow in table.numbers.items() if n.endswith("*")}
        self._prefixes = sorted(patterns.items(), key=lambda item: -len(item[0]))
        open_door = not table.numbers and not table.headers
        self._default = table.default or (next(iter(flows), None) if open_door else None)

    def flow_for(self, call: CallInfo) -> str | None:
        """Name of the flow; None: nobody lives here, answer 404."""
        if (told := call.passed.get("flow", "")) in self._flows:
            return told
        if self._header and (flow := self._headers.get(call.headers.get(self._header, "").strip())):
            return flow
        if flow := self._exact.get(call.callee):
            return flow
        if call.callee in self._extensions:
            return EXTENSION
        for prefix, flow in self._prefixes:
            if call.callee.startswith(prefix):
                return flow
        return self._default
