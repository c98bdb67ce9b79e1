"""Puts the softphone together. Imported only where the extra `webrtc` is installed."""

from collections.abc import Callable, Mapping

from media.metronome import Metronome
from sip.webrtc.media import WebRtcMedia
from voicegw import clock
from voicegw.calls import CallManager
from voicegw.config import Config
from voicegw.flows import Conversation
from voicegw.keeper import CallKeeper
from voicegw.softphone.line import Counters, LineParts
from voicegw.softphone.mount import Softphone, SoftphoneParts, session_flows


def build(
    config: Config,
    metronome: Metronome,
    calls: CallManager,
    keeper: CallKeeper,
    flows: Mapping[str, Conversation],
    sip_uri: Callable[[], str],
) -> tuple[WebRtcMedia, Softphone]:
    """The media, still to be entered, and what answers web requests. Raises ValueError for a flow that is
    not there."""
    webrtc, rtp = config.webrtc, config.rtp
    session_flows(webrtc.embed_flows, flows)
    jitter_ms = (rtp.jitter_min_ms, rtp.jitter_max_ms)
    media = WebRtcMedia(webrtc, metronome, jitter_ms, clock.utc())
    line = LineParts(media, calls, Counters(), keeper.watch)
    offered = session_flows(webrtc.flows, flows)
    parts = SoftphoneParts(line, offered, config.http.public_url, sip_uri, lambda: clock.utc().timestamp())
    return media, Softphone(webrtc, parts)
