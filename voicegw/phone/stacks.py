"""The SIP stacks that the phone can speak with, and a port of its own for each call."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from media.impairment import Channel, Impairment
from media.metronome import Metronome
from sip.endpoint import IncomingCall, SipEndpoint
from sip.rtpmedia import BadNetwork, RtpConfig, RtpMedia
from sip.sdes import SrtpPolicy
from sip.ua.config import SipConfig, TlsConfig
from voicegw.errors import StartError
from voicegw.phone.script import LineQuality

CLEAR = LineQuality()


@dataclass(frozen=True, slots=True)
class Secrecy:
    """How the phone's calls are encrypted; signalling is by TLS where the address says so."""

    srtp: SrtpPolicy = SrtpPolicy.OFF
    ca_file: str = ""  # whom to believe; "": the system's


OPEN = Secrecy()


@asynccontextmanager
async def phone_endpoint(
    stack: str,
    line: LineQuality = CLEAR,
    seed: str = "",
    metronome: Metronome | None = None,
    secrecy: Secrecy = OPEN,
) -> AsyncIterator[SipEndpoint]:
    """An endpoint on free ports, closed with the block. Its packets meet what `line` says; the same `seed`
    brings the same losses. Phones that call at the same time share a `metronome`. Raises StartError,
    MissingExtra."""
    media = RtpMedia(RtpConfig(first_port=0, last_port=0, srtp=secrecy.srtp), metronome or Metronome())
    if line.send is not None or line.receive is not None:
        sent = Channel(line.send or Impairment(), f"{seed}sent")
        media.network = BadNetwork(sent, Channel(line.receive or Impairment(), f"{seed}received"))
    # All addresses: from one bound to loopback nothing reaches another machine. Only whom we call is heard.
    tls = TlsConfig(ca_file=secrecy.ca_file)
    config = SipConfig(host="::", port=0, tls=tls, user="phone", user_agent="voicegw phone")
    try:
        endpoint = _make(stack, config, media)
    except ValueError as error:
        raise StartError(f"the phone cannot start: {error}") from error
    try:
        await endpoint.start(_refuse)
    except OSError as error:
        raise StartError(f"the phone found no port to call from: {error}") from error
    try:
        yield endpoint
    finally:
        await endpoint.close()


def _make(stack: str, config: SipConfig, media: RtpMedia) -> SipEndpoint:
    if stack == "pjsua2":
        from sip.pjsua import PjsuaEndpoint  # noqa: PLC0415 - an extra

        return PjsuaEndpoint(config, media)
    from sip.ua.agent import UserAgent  # noqa: PLC0415 - the other stack is not needed then

    return UserAgent(config, media)


async def _refuse(call: IncomingCall) -> None:
    """A phone for tests takes no calls."""
    call.reject(486, "Busy Here")
