"""What a leg's media signals through: one call after another, as transfers hand it on."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from media.errors import TransferError
from media.leg import HangupCause

if TYPE_CHECKING:
    from sip.ua.join import Wire
    from sip.ua.session import Session


class CallLine:
    """Implements `sip.rtpleg.Signalling`. There is no session before the answer."""

    def __init__(
        self,
        on_hangup: Callable[[HangupCause], None] = lambda cause: None,
        on_transfer: Callable[[str], None] | None = None,
    ) -> None:
        """Before the answer: `on_hangup` refuses the call, `on_transfer` sends the caller elsewhere."""
        self._on_hangup, self._on_transfer = on_hangup, on_transfer
        self.session: Session | Wire | None = None

    def hangup(self, cause: HangupCause) -> None:
        if self.session is not None:
            self.session.hangup(cause)
        else:
            self._on_hangup(cause)

    async def transfer(self, target: str) -> None:
        if self.session is not None:
            await self.session.transfer(target)
        elif self._on_transfer is not None:
            self._on_transfer(target)
        else:
            raise TransferError("the call is not answered")

    def send_info_dtmf(self, digit: str, duration_ms: int) -> None:
        if self.session is not None:
            self.session.send_info_dtmf(digit, duration_ms)
