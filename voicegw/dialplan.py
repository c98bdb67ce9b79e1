"""Which way a call takes: from what somebody wants to call to a way out, a trunk and an address there."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sip.ua.config import Trunk
from voicegw.config.outbound import OutboundRoute

NUMBER = re.compile(r"\+?[0-9*#]{1,64}")
ADDRESS = re.compile(r"sips?:[^\s<>\"\x00-\x1f\x7f]{1,250}", re.IGNORECASE)
_FILLERS = str.maketrans("", "", " -./()\u00a0")  # how people write numbers


class NoRoute(Exception):
    """This cannot be called; the message says why."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where a call goes."""

    name: str  # of the way out: "sip", or a carrier
    target: str  # for the way out: a SIP URI, or a number
    number: str  # what is called, for people: number, or user part of the address
    trunk: str = ""
    caller: str = ""  # caller id of this way; "": none of its own


class DialPlan:
    """The outbound routes."""

    def __init__(
        self,
        routes: Sequence[OutboundRoute],
        trunks: Sequence[Trunk],
        phones: Mapping[str, str] | None = None,
    ) -> None:
        """`phones`: SIP addresses of registered phones by their numbers and names."""
        self._phones = phones or {}
        # Of equal prefixes the first stands; sorting is stable.
        self._routes = sorted(routes, key=lambda route: -len(route.prefix))
        self._trunks: Mapping[str, Trunk] = {trunk.name: trunk for trunk in trunks}

    def way(self, target: str) -> Way:
        """The way to a number as people write it, a registered phone, or a SIP address. Raises NoRoute."""
        if (phone := self._phones.get(target.strip())) is not None:
            return Way("sip", phone, target.strip())
        wanted = normal(target)
        for route in self._routes:
            if wanted.lower().startswith(route.prefix.lower()):
                return self._take(route, wanted)
        hint = "set outbound.routes" if not self._routes else "no prefix in outbound.routes fits"
        raise NoRoute(f"nothing leads to {wanted}: {hint}")

    def _take(self, route: OutboundRoute, wanted: str) -> Way:
        if ADDRESS.fullmatch(wanted):
            user = wanted.partition(":")[2].partition("@")[0].partition(";")[0]
            return Way(route.way, wanted, user, route.trunk, route.caller)
        number = route.add + wanted[route.strip :]
        if not NUMBER.fullmatch(number):
            raise NoRoute(f"the route for {route.prefix!r} makes no number of {wanted}: {number!r}")
        if route.way != "sip":
            return Way(route.way, number, number, route.trunk, route.caller)
        trunk = self._trunks.get(route.trunk)
        if trunk is None:
            raise NoRoute(
                f"the route for {route.prefix!r} names no SIP trunk, and {wanted} is no SIP address"
            )
        return Way(route.way, f"sip:{number}@{trunk.registrar}", number, route.trunk, route.caller)


def normal(target: str) -> str:
    """A number without what people write between digits, or an address as it is. Raises NoRoute."""
    text = target.strip()
    if ADDRESS.fullmatch(text):
        return text
    number = text.removeprefix("tel:").translate(_FILLERS)
    if not NUMBER.fullmatch(number):
        raise NoRoute(f"neither a number nor a SIP address: {text[:80]!r}")
    return number


def problems(routes: Sequence[OutboundRoute], trunks: Sequence[Trunk], ways: Sequence[str]) -> list[str]:
    """What is wrong with the routes: unknown ways and trunks."""
    names = [trunk.name for trunk in trunks]
    found = []
    for number, route in enumerate(routes):
        if route.way not in ways:
            found.append(
                f"outbound.routes[{number}].way: there is no {route.way!r}; known: {', '.join(ways)}"
            )
        elif route.way == "sip" and route.trunk and route.trunk not in names:
            found.append(f"outbound.routes[{number}].trunk: there is no trunk {route.trunk!r} in sip.trunks")
    return found
