"""The branches of a call that we place: proxies may ring several phones, and more than one may answer."""

from typing import TYPE_CHECKING

from media.leg import HangupCause
from sip.ua.dialog import Dialog
from sip.ua.early import EarlyDialog
from sip.ua.flow import Flow
from sip.ua.message import Request, Response
from sip.ua.session import Session
from sip.ua.trunks import TrunkState

if TYPE_CHECKING:
    from sip.ua.outgoing import OutgoingInvite


class Branches:
    """Of one call; each by the tag of its To."""

    def __init__(self, call: "OutgoingInvite") -> None:
        self._call = call
        self._early: dict[str, EarlyDialog] = {}  # that ring
        self._sessions: dict[str, Session] = {}  # that have answered, the first one first

    @property
    def winner(self) -> Session | None:
        """Who answered first."""
        return next(iter(self._sessions.values()), None)

    def in_order(self, invite: Request, response: Response, flow: Flow) -> bool:
        """Take a provisional response of a branch; False if it came before or out of order."""
        tag = response.to.tag
        if response.status == 100 or not tag:
            return True
        if tag in self._sessions:
            return False
        if tag not in self._early:
            self._early[tag] = EarlyDialog(self._call, Dialog.of_caller(invite, response), flow)
        return self._early[tag].is_new(response)

    def answered(
        self, invite: Request, response: Response, flow: Flow, trunk: TrunkState | None
    ) -> Session | None:
        """The session that a 2xx opens; None if it is a repeated one, whose ACK is then repeated."""
        tag = response.to.tag
        stack = self._call.stack
        if tag in self._sessions:
            again = self._sessions[tag].acknowledge(response.cseq.number)
            stack.start(again, f"sip ack {self._call.call_id}")
            return None
        # RFC 3261, 13.2.2.4: the dialog goes on, but for its route, which is that of the 2xx.
        dialog = Dialog.of_caller(invite, response)
        early = self._early.pop(tag, None)
        if early is not None:
            dialog.local_number = max(dialog.local_number, early.dialog.local_number)
            dialog.remote_number = early.dialog.remote_number
            early.close()
        session = Session(stack, dialog, flow, trunk)
        session.call_id = self._call.call_id
        self._sessions[tag] = session
        return session

    def close_early(self) -> None:
        """None of those that ring will answer any more."""
        for early in self._early.values():
            early.close()
        self._early.clear()

    def hang_up(self) -> None:
        """Nobody wants those who have answered."""
        for session in self._sessions.values():
            session.leg = None
            session.hangup(HangupCause.CANCELLED)
