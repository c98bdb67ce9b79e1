"""Coverage-guided fuzzing of what reads the SIP wire, for as long as you like (pip install 'voicegw[fuzz]'):

    python -m tests.fuzz.sip message              until Ctrl-C, or a finding
    python -m tests.fuzz.sip stream corpus/ -max_total_time=600 -jobs=2

Targets: message, stream, layer, sdp, sdes, certificate. A finding is any exception but the one that is
documented; libFuzzer writes the input to a file crash-..., which the same command then reads again.
Options are libFuzzer's. The RFC 4475 messages are the seeds where no corpus is given.
"""

import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["sip"]):
    from media.codecs import codec
    from sip.errors import LocalProtocolError, RemoteProtocolError
    from sip.offer import OfferAnswer
    from sip.sdes import Sdes, SrtpPolicy, cryptos
    from sip.sdp import MediaDescription
    from sip.ua.certificate import validity
    from sip.ua.flow import Flow, answer_flow
    from sip.ua.grammar import Address, SipUri, Via
    from sip.ua.layer import TransactionLayer
    from sip.ua.message import Request, check, parse, reply
    from sip.ua.stream import StreamFramer

from tests.sip.ua.torture import CASES, MEDIA

FLOW = Flow("UDP", "192.0.2.1", 5060)


def message(data: bytes) -> None:
    """Parse, judge, answer, and write what was read: it must read the same again."""
    with suppress(RemoteProtocolError):
        found = parse(data)
        check(found)
        answer = found
        if isinstance(found, Request):
            answer_flow(found, FLOW)
            answer = reply(found, 200, tag="x")  # type: ignore[assignment]
        assert parse(bytes(answer)).cseq == found.cseq
    for read in (SipUri.parse, Address.parse, Via.parse):
        with suppress(RemoteProtocolError):
            read(data.decode("utf-8", "surrogateescape"))


def stream(data: bytes) -> None:
    """However it is cut, the same items come out."""
    whole, cut = StreamFramer(), StreamFramer()
    step = data[0] % 16 + 1 if data else 1
    found: list[list[object]] = [[], []]
    with suppress(RemoteProtocolError):
        found[0] += whole.receive(data)
        for at in range(0, len(data), step):
            found[1] += cut.receive(data[at : at + step])
        assert found[0] == found[1]


def layer(data: bytes) -> None:
    """Several messages, each answered; all transactions end."""
    transactions, now = TransactionLayer(), 0.0
    for part in data.split(b"\0\0"):
        with suppress(RemoteProtocolError, LocalProtocolError):
            found = parse(part)
            check(found)
            for event in transactions.receive(found, FLOW, now):
                transaction = getattr(event, "transaction", None)
                if transaction is not None and isinstance(found, Request):
                    transactions.respond(transaction, reply(found, 200 + len(part) % 400, tag="x"), now)
        now += 0.3
    while (due := transactions.deadline()) is not None:
        transactions.tick(due)
        assert due < 1000
    assert len(transactions) == 0


def sdp(data: bytes) -> None:
    """As an offer, and as an answer."""
    for offering in (False, True):
        ours = OfferAnswer("192.0.2.5", 4000, (codec("PCMU"), codec("G722")), 1)
        ours.encryption = Sdes(SrtpPolicy.OPTIONAL)
        with suppress(RemoteProtocolError):
            if offering:
                ours.offer()
                ours.accept(data)
            else:
                ours.answer(data)


def sdes(data: bytes) -> None:
    """One a=crypto line."""
    text = data.decode("utf-8", "replace")
    cryptos(MediaDescription("audio", 1, "RTP/SAVP", ("0",), "", (f"crypto:{text}",)))


def certificate(data: bytes) -> None:
    """A PEM file."""
    with suppress(ValueError):
        validity(data)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "message": message,
    "stream": stream,
    "layer": layer,
    "sdp": sdp,
    "sdes": sdes,
    "certificate": certificate,
}


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(__doc__)
    options = sys.argv[2:]
    with tempfile.TemporaryDirectory(prefix="voicegw-fuzz-") as folder:
        if not any(not option.startswith("-") for option in options):
            for case, seed in CASES.items():
                (Path(folder) / case).write_bytes(seed.data)
            (Path(folder) / "sdp").write_bytes(MEDIA)
            options.append(folder)
        atheris.Setup([sys.argv[0], *options], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
