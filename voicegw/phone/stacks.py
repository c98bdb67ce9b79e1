"""The SIP stacks that the phone can speak with, and a port of its own for each call."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from media.metronome import Metronome
from sip.endpoint import IncomingCall, SipEndpoint
from sip.rtpmedia import RtpConfig, RtpMedia
from sip.ua.config import SipConfig
from voicegw.errors import StartError


@asynccontextmanager
async def phone_endpoint(stack: str) -> AsyncIterator[SipEndpoint]:
    """An endpoint on free ports, closed with the block. Raises StartError, MissingExtra."""
    media = RtpMedia(RtpConfig(first_port=0, last_port=0), Metronome())
    # All addresses: from one bound to loopback nothing reaches another machine. Only whom we call is heard.
    config = SipConfig(host="0.0.0.0", port=0, user="phone", user_agent="voicegw phone")
    endpoint = _make(stack, config, media)
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
