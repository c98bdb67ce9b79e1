"""What can go wrong between us and a switch."""

from sip.errors import SipError


class EslError(SipError):
    """Root of what a switch or the way to it can do to a command."""


class CommandRefused(EslError):
    """FreeSWITCH answered with an error; the message is its text (``-ERR NO_ANSWER``)."""

    @property
    def reason(self) -> str:
        """Without ``-ERR``: often the name of a hang-up cause."""
        return str(self).removeprefix("-ERR").strip()


class CommandTimeout(EslError):
    """No answer in time. What was asked may still happen."""


class LinkLost(EslError):
    """The connection is gone. What was asked may have happened."""


class NotConnected(LinkLost):
    """There was no connection: nothing was sent."""


class AccessDenied(EslError):
    """FreeSWITCH does not let us in: the password is wrong, or its ACL does not list us."""


class ChannelGone(EslError):
    """The call ended before what was asked for was done. The message is the hang-up cause."""
