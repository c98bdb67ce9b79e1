"""Calls from one registered phone to another: the conversation is a transfer, the bridge does the rest."""

from collections.abc import AsyncGenerator

from dialog.types import Act, DialogInput, Domain, Hangup, Transfer, TransferFailed
from media.leg import CallInfo
from sip.ua.config import SipConfig

EXTENSION = "extension"
"""Name of the flow of such calls, in the store and the timeline; a flow of this name cannot be defined."""


class ExtensionDialog:
    """Implements `dialog.types.DialogEngine`. Says nothing and hears nothing."""

    def __init__(self, call: CallInfo) -> None:
        self._target = call.callee

    @property
    def domain(self) -> Domain:
        """Nothing is expected."""
        return Domain(EXTENSION)

    async def greet(self) -> AsyncGenerator[Act, None]:
        """Call the other phone; meanwhile it rings in the caller's ear."""
        yield Transfer(self._target, music="ringing")

    async def reply(self, turn: DialogInput) -> AsyncGenerator[Act, None]:
        """Nobody answers: that is all. What is said meanwhile is not for us."""
        if isinstance(turn, TransferFailed):
            yield Hangup("not answered")

    def heard(self, text: str, complete: bool) -> None:
        """Nothing was said."""


def phones_of(config: SipConfig) -> dict[str, str]:
    """Addresses of all accounts, by their user names and numbers."""
    return {name: f"sip:{name}@{config.realm}" for account in config.accounts for name in account.names}
