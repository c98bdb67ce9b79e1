"""Which language a conversation is in, and what changes it."""

from dialog.flow.model import Flow
from dialog.flow.plan import Plan
from dialog.flow.state import State
from dialog.nlu.language import identify
from dialog.types import NoteName


class Tongue:
    """The language of one turn."""

    def __init__(self, flow: Flow, state: State, plan: Plan) -> None:
        self._flow, self._state, self._plan = flow, state, plan
        plan.language = state.language

    def speak(self, code: str | None) -> bool:
        """Speak and listen in this language from now on. False: that is so already, or it is None."""
        language = "" if code == self._flow.language else code
        if language is None or language == self._state.language:
            return False
        self._state.language = self._plan.language = language
        self._plan.note(NoteName.LANGUAGE, code=code)
        return True

    def follow(self, text: str) -> bool:
        """Speak as the caller does, if he clearly speaks another language of the flow."""
        others = self._flow.others
        return bool(others) and self.speak(identify(text, (self._flow.language, *others)))
