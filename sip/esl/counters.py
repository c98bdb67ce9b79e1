"""What is counted of the way to a switch; names ending in ``_s`` are seconds."""

from dataclasses import dataclass, field

from sip.esl.protocol import ProtocolCounters


@dataclass(slots=True)
class EslCounters:
    """Of all connections together."""

    wire: ProtocolCounters = field(default_factory=ProtocolCounters)
    commands: int = 0
    round_trip_s: float = 0.0  # of all replies, summed
    timeouts: int = 0
    refused: int = 0  # answered with -ERR
    jobs: int = 0
    connects: int = 0  # the first one and every reconnect
    lost: int = 0  # connections that ended without our wish
    dropped: int = 0  # events that a full queue could not take
    unknown: int = 0  # events of channels that nobody follows
    sessions: int = 0  # calls that FreeSWITCH brought us
    turned_away: int = 0  # of these, sent on in the dialplan
    vanished: int = 0  # channels that were gone after a reconnect
