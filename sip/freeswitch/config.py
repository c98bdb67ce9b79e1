"""Configuration of the FreeSWITCH edge."""

from dataclasses import dataclass, field
from enum import StrEnum

from sip.esl.client import EslConfig


class TransferBy(StrEnum):
    """How callers are handed over."""

    BRIDGE = "bridge"
    REFER = "refer"


@dataclass(frozen=True, slots=True)
class FreeswitchConfig:
    """FreeSWITCH in front: it has trunks, NAT, TLS; we control its calls over the event socket
    (docs/freeswitch.md)."""

    enabled: bool = False
    """Connect to a FreeSWITCH and take its calls."""
    esl: EslConfig = EslConfig()
    socket_host: str = "127.0.0.1"
    """Address on which we wait for FreeSWITCH's `socket` application. Whoever can connect here can bring us
    calls: keep it on this machine or in a private network."""
    socket_port: int = 8084
    """Port of it; the dialplan says `socket 127.0.0.1:8084 async full`. 0: any free one."""
    profile: str = "internal"
    """Sofia profile through which FreeSWITCH calls our SIP endpoint for the audio."""
    media_address: str = ""
    """host:port of our SIP endpoint as FreeSWITCH reaches it. Empty: `sip.host` and `sip.port`."""
    codecs: tuple[str, ...] = ("PCMU", "PCMA", "G722")
    """Codecs between FreeSWITCH and us, in its spelling; the first that the caller has needs no transcoding.
    `L16@16000h` for wide band on the same machine."""
    gateway: str = ""
    """Sofia gateway for calls and transfers to a number, unless the trunk of the order names another."""
    external_profile: str = "external"
    """Sofia profile for calls and transfers to a SIP address."""
    hold_music: str = "local_stream://moh"
    """What a caller hears during a transfer: a file, local_stream:// or tone_stream:// of FreeSWITCH."""
    transfer_by: TransferBy = TransferBy.BRIDGE
    """bridge: FreeSWITCH calls the target and connects it, the call stays on our lines; an attended transfer
    always does. refer: the carrier is asked to do it (REFER), and bridge where it refuses."""
    transfer_timeout_s: float = 30.0
    """How long the target of a transfer may ring."""
    record_folder: str = ""
    """Folder on FreeSWITCH's machine for its own stereo recordings, in addition to ours. Empty: none."""
    media_timeout_s: float = 5.0
    """Silence of our RTP after which FreeSWITCH gives us up and goes on with its dialplan: how long a caller
    waits when this server crashes."""
    queues: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Name -> numbers or SIP addresses of people; a flow transfers to `queue:NAME`. They are called in turn
    until one answers."""
    queue_round_s: float = 15.0
    """Pause before the people of a queue are called again when none answered."""
    queue_wait_s: float = 600.0
    """Longest wait in a queue; then the caller is back with the bot."""
    queue_position: str = "You are number {position} in the queue."
    """Said to a waiting caller whenever his place changes, and each round. Empty: nothing."""
    resume_phrase: str = "I am sorry, we were interrupted."
    """Said to a caller whose call goes on after this server was restarted."""
    reconcile_s: float = 10.0
    """How often FreeSWITCH's channels are compared with our calls. 0: never."""
