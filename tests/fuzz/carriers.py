"""Coverage-guided fuzzing of what carriers' media sockets say (pip install 'voicegw[fuzz]'):

    python -m tests.fuzz.carriers twilio            until Ctrl-C, or a finding
    python -m tests.fuzz.carriers plivo corpus/ -max_total_time=600

Targets: the carriers of tests/contracts/carriers.py. The input is cut into messages at zero bytes and follows
a proper start; a finding is any exception but RemoteProtocolError. The carrier's own conversation is the seed
where no corpus is given.
"""

import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["sip"]):
    from sip.errors import RemoteProtocolError
    from tests.contracts.carriers import CASES
from tests.contracts.farend import CarrierCase


def target(case: CarrierCase) -> Callable[[bytes], None]:
    """Feeds one stream of this carrier."""

    def feed(data: bytes) -> None:
        core = case.core()
        for message in case.start():
            core.receive(message)
        for piece in data.split(b"\0"):
            with suppress(RemoteProtocolError):
                core.receive(piece.decode("utf-8", "surrogateescape"))
            with suppress(RemoteProtocolError):
                core.receive(piece)

    return feed


def seeds(case: CarrierCase, folder: Path) -> None:
    """What the carrier says, one file a message and one with all."""
    said = [case.media(case.frame, 1), case.press("7"), case.marked("0:160"), case.stop(), *case.start()]
    found = [m.encode() if isinstance(m, str) else m for m in said if m is not None]
    for n, message in enumerate([*found, b"\0".join(found)]):
        (folder / f"{n}").write_bytes(message)


def main() -> None:
    """Run libFuzzer on one target."""
    cases = {case.name: case() for case in CASES}
    if len(sys.argv) < 2 or sys.argv[1] not in cases:
        sys.exit(f"{__doc__}\nCarriers: {', '.join(cases)}")
    case = cases[sys.argv.pop(1)]
    with tempfile.TemporaryDirectory() as corpus:
        if all(argument.startswith("-") for argument in sys.argv[1:]):
            seeds(case, Path(corpus))
            sys.argv.append(corpus)
        atheris.Setup(sys.argv, target(case))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
