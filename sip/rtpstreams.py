"""The audio of one call as it was agreed on: who decodes what comes, who packs what goes.

A new agreement keeps what can go on: the same codec keeps its jitter buffer, our numbers always go on.
"""

from media.dtmf import EventSender
from media.inband import InbandKeys
from media.rtp import RtpSource
from media.rtpstream import ReceiveTypes, RtpReceiver, RtpSender
from sip.offer import MediaAgreement
from sip.rtpmedia import InbandDtmf, MediaStats, RtpConfig


class Streams:
    """Of one call, from its first agreement on."""

    def __init__(self, config: RtpConfig, source: RtpSource, stats: MediaStats, new: MediaAgreement) -> None:
        self._config, self._source, self._stats = config, source, stats
        self._agreement = new
        self.receiver = self._new_receiver(new)
        self.sender = self._new_sender(new)
        self.keys = self._new_keys(new)
        self._tones = self._new_tones(new)

    def agree(self, new: MediaAgreement) -> None:
        """Go on with another agreement."""
        old, self._agreement = self._agreement, new
        if old.codec is not new.codec:
            self.receiver = self._new_receiver(new)
        else:
            self.receiver.expect(_types(new))
        if (old.codec, old.send_type, old.ptime_ms) != (new.codec, new.send_type, new.ptime_ms):
            self.sender = self._new_sender(new)
        self.sender.suppress_silence = self._suppresses(new)
        if (self._tones is None) == self._listens(new) or old.codec.rate != new.codec.rate:
            self._tones = self._new_tones(new)
        if old.dtmf_clock != new.dtmf_clock:
            self.keys = self._new_keys(new)

    def incoming(self) -> tuple[bytes, str]:
        """The next 20 ms of audio, and keys that were heard in it. Their tones are taken out: whoever wants
        to know gets the keys."""
        pcm = self.receiver.frame()
        tones = self._tones
        if tones is None:
            return pcm, ""
        keys = tones.frame(pcm)
        return (bytes(len(pcm)) if tones.pressed else pcm), keys

    def outgoing(self, pcm: bytes | None) -> list[bytes]:
        """The packets of one packet time: keys before audio, silence where there is none."""
        kind = self._agreement.dtmf_send_type
        if self.keys.busy and kind is not None:
            return self.sender.events(self.keys, kind)
        if pcm is not None:
            return self.sender.audio(pcm)
        self._stats.sent.silent += 1
        return self.sender.silence()

    @property
    def by_rtp(self) -> bool:
        """The far end takes keys as telephone events."""
        return self._agreement.dtmf_send_type is not None

    @property
    def pressing(self) -> bool:
        """Keys go out now; audio has to wait."""
        return self.keys.busy and self._agreement.dtmf_send_type is not None

    def _new_receiver(self, agreed: MediaAgreement) -> RtpReceiver:
        jitter_ms = (self._config.jitter_min_ms, self._config.jitter_max_ms)
        return RtpReceiver(agreed.codec, _types(agreed), self._stats.received, jitter_ms)

    def _new_sender(self, agreed: MediaAgreement) -> RtpSender:
        sender = RtpSender(agreed.codec, self._source, agreed.send_type, agreed.ptime_ms)
        sender.suppress_silence = self._suppresses(agreed)
        return sender

    def _new_keys(self, agreed: MediaAgreement) -> EventSender:
        return EventSender(agreed.dtmf_clock, self._config.dtmf_press_ms, self._config.dtmf_pause_ms)

    def _listens(self, agreed: MediaAgreement) -> bool:
        wanted = self._config.inband_dtmf
        return wanted is InbandDtmf.ON or (wanted is InbandDtmf.AUTO and agreed.dtmf_send_type is None)

    def _new_tones(self, agreed: MediaAgreement) -> InbandKeys | None:
        return InbandKeys(agreed.codec.rate) if self._listens(agreed) else None

    def _suppresses(self, agreed: MediaAgreement) -> bool:
        return self._config.dtx and agreed.comfort_noise and agreed.codec.stateless


def _types(agreed: MediaAgreement) -> ReceiveTypes:
    return ReceiveTypes(
        agreed.receive_types, agreed.dtmf_receive_types, agreed.comfort_noise_types, agreed.others
    )
