"""What was said in a conversation, as it was heard: of a cut prompt only the words before the cut."""

from dataclasses import dataclass, replace
from enum import StrEnum


class Speaker(StrEnum):
    """Who spoke."""

    CALLER = "caller"
    BOT = "bot"


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn of one speaker."""

    speaker: Speaker
    text: str
    complete: bool = True  # False: the bot was cut here, or the caller was not understood


class History:
    """The utterances of one conversation, oldest first."""

    def __init__(self, utterances: tuple[Utterance, ...] = ()) -> None:
        self._utterances = list(utterances)

    @property
    def utterances(self) -> tuple[Utterance, ...]:
        return tuple(self._utterances)

    def caller_said(self, text: str, *, understood: bool = True, continues: bool = False) -> None:
        """The caller's turn; `continues` replaces his last one, of which this is the longer form."""
        new = Utterance(Speaker.CALLER, text, understood)
        if continues:
            for at in range(len(self._utterances) - 1, -1, -1):
                if self._utterances[at].speaker is Speaker.CALLER:
                    self._utterances[at] = new
                    return
        self._utterances.append(new)

    def bot_heard(self, text: str, *, complete: bool) -> None:
        """What of an utterance reached the caller. Pieces of one answer are joined."""
        if not text:
            return
        last = self._utterances[-1] if self._utterances else None
        if last is not None and last.speaker is Speaker.BOT and last.complete:
            self._utterances[-1] = replace(last, text=f"{last.text} {text}", complete=complete)
        else:
            self._utterances.append(Utterance(Speaker.BOT, text, complete))
