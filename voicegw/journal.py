"""What is written about one call while it lasts: the port between `CallManager` and what remains."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from media.leg import CallInfo, HangupCause
from media.observe import CallObserver, CallTap


class CallJournal(CallObserver, Protocol):
    """Takes one call's events, and gives its recorder."""

    @property
    def tap(self) -> CallTap | None:
        """Where the call's audio goes; None: it is not recorded, or not yet answered."""

    def answered(self, rate: int, carrier_id: str = "") -> None:
        """The caller is connected; audio of `rate` Hz will follow. `carrier_id` if it is new."""

    def ended(self, cause: HangupCause, sip_status: int | None = None) -> None:
        """The final state, and the answer that refused the call. Only the first one counts."""


class Journals(Protocol):
    """Opens a journal for each call."""

    def open(self, info: CallInfo, flow: str) -> AbstractAsyncContextManager[CallJournal]:
        """The call clock starts here. Leaving the block closes files and hands the rest to the storage;
        it never raises."""
