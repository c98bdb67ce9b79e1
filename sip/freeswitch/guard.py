"""What FreeSWITCH does with a call that we leave alone: nobody sits in silence for ever.

    we are asked   -> an order for soon: go on in the dialplan, or hang up; taken back once we have the audio
    our audio ends -> the same by `execute_on_post_bridge`, which is taken back before a handover

A server that has died is noticed at once, its sockets close. One that hangs keeps them: only time tells.
"""

from sip.errors import LocalProtocolError
from sip.esl import commands
from sip.esl.messages import Event

VARIABLE = "execute_on_post_bridge"
ASKED_S = 10  # for us to take a call; as in config/freeswitch/dialplan/trunk.xml
AGAIN_MS, TRIES = 3000, 8  # a restart takes 5 to 15 s; then whoever was called has hung up anyway
AGAIN_S = 30  # for all tries together, and for us to take the call at the last of them
CAUSE = "NORMAL_TEMPORARY_FAILURE"
_LIMIT = f"sched_hangup:+{AGAIN_S} {CAUSE}"
_AGAIN = f"^{_LIMIT}^sleep:{AGAIN_MS}^"


def hang_up(after_s: int) -> str:
    """The order to hang up, as FreeSWITCH runs an application: its name and its argument."""
    return f"sched_hangup +{after_s} {CAUSE}"


def go_on(data: Event) -> str:
    """The order to go on with a call in the dialplan that has brought it; where that was one of ours, to hang
    up. `data`: what the call was like when it came."""
    try:
        number = commands.number(data.get("Caller-Destination-Number"))
        context = commands.name(data.get("Caller-Context"))
    except LocalProtocolError:
        return hang_up(AGAIN_S)
    if data.get("Caller-Dialplan") != "XML":
        return hang_up(AGAIN_S)
    return f"sched_transfer +{ASKED_S} {number} XML {context}"


def plan(socket: str, tries: int = TRIES) -> str:
    """A dialplan that brings a call which has just been answered to us by the `socket` application, and again
    after a crash: the next server, or the same one restarted, picks it up."""
    return "m:^:" + _AGAIN.join([f"socket:{socket}"] * tries)


def pick_up(socket: str, tries: int = TRIES) -> str:
    """A dialplan that brings a call to us which nobody has in hand; again where we have no room at once, as
    after a hang."""
    return f"m:^:{_LIMIT}^" + _AGAIN.join([f"socket:{socket}"] * tries)
