"""The conversation as the model is told of it: only what the caller heard, every tool that ran.

user -> begin -> (said | aside | called -> returned)* -> heard
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dialog.llm.base import Message, Role, ToolCall
from dialog.markup import plain

CHARS_PER_TOKEN = 4  # of English in the usual vocabularies; a budget needs no more
KEEP = 0.6  # of the budget, once it is passed: what models keep of the prefix stays whole for many turns


@dataclass(slots=True)
class _Entry:
    message: Message
    spoken: str = ""  # of the assistant: all that went to the voice, asides too
    aside: bool = False  # not the model's words


class Talk:
    """Messages of one conversation. The answer in progress stays open until it is known what was heard."""

    def __init__(self, instructions: str, budget_tokens: int) -> None:
        self._system = Message(Role.SYSTEM, instructions)
        self._budget = budget_tokens * CHARS_PER_TOKEN
        self._done: list[Message] = []
        self._open: list[_Entry] = []
        self._fresh = True  # the next words begin a new message

    def messages(self) -> list[Message]:
        """For the model."""
        entries = (entry.message for entry in self._open if not entry.aside)
        return [self._system, *self._done, *entries]

    def user(self, text: str, *, continues: bool = False) -> None:
        """The caller's turn; `continues` replaces his last one, of which this is the longer form. What nobody
        has heard of the answer is forgotten, tools that ran are not."""
        self._settle("")
        if continues:
            for at in range(len(self._done) - 1, -1, -1):
                if self._done[at].role is Role.USER:
                    self._done[at] = Message(Role.USER, text)
                    return
        self._done.append(Message(Role.USER, text))

    def event(self, text: str) -> None:
        """Something happened that the model should know: a transfer failed."""
        self._settle("")
        self._done.append(Message(Role.USER, f"(Event: {text})"))

    def begin(self) -> None:
        """A request to the model starts: its words are one message."""
        self._fresh = True

    def said(self, text: str) -> None:
        """Words of the model, on their way to the caller."""
        if self._fresh:
            self._open.append(_Entry(Message(Role.ASSISTANT, "")))
            self._fresh = False
        last = self._open[-1]
        last.message = replace(last.message, content=last.message.content + text)
        last.spoken += text

    def aside(self, text: str) -> None:
        """Words that are not the model's: it never learns of them."""
        self._open.append(_Entry(Message(Role.ASSISTANT, ""), text, aside=True))
        self._fresh = True

    def called(self, calls: Sequence[ToolCall]) -> None:
        """The model wants tools; what they return follows."""
        if self._fresh:
            self._open.append(_Entry(Message(Role.ASSISTANT, "")))
        last = self._open[-1]
        last.message = replace(last.message, tool_calls=(*last.message.tool_calls, *calls))
        self._fresh = True

    def returned(self, call: ToolCall, result: str) -> None:
        """What a tool returned."""
        self._open.append(_Entry(Message(Role.TOOL, result, tool_call_id=call.id)))

    def heard(self, text: str, *, complete: bool) -> None:
        """What of the answer reached the caller."""
        self._settle(None if complete else text)

    def _settle(self, heard: str | None) -> None:
        """Close the answer in progress. None: all of it was heard."""
        left = None if heard is None else len(_squeezed(heard))
        for entry in self._open:
            message, spoken = entry.message, plain(entry.spoken)  # the model's markup is not for the history
            if message.role is Role.ASSISTANT:
                message = replace(message, content=plain(message.content))
            if left is not None and spoken:
                kept = _prefix(spoken, left)
                left = max(0, left - len(_squeezed(spoken)))
                message = replace(message, content="" if entry.aside else kept)
            if message.content.strip() or message.tool_calls or message.role is Role.TOOL:
                self._done.append(replace(message, content=message.content.strip()))
        self._open.clear()
        self._fresh = True
        self._trim()

    def _trim(self) -> None:
        if sum(map(_size, self._done)) <= self._budget:
            return
        left, start = self._budget * KEEP, len(self._done)
        for at in range(len(self._done) - 1, -1, -1):
            left -= _size(self._done[at])
            if left < 0:
                break
            if self._done[at].role is Role.USER:  # a tool's answer never stands without its call
                start = at
        if start == len(self._done):  # one turn is larger than all that is kept: nothing helps
            start = max((at for at, m in enumerate(self._done) if m.role is Role.USER), default=0)
        del self._done[:start]


def _size(message: Message) -> int:
    return len(message.content) + sum(len(call.name) + len(call.arguments) for call in message.tool_calls)


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _prefix(text: str, letters: int) -> str:
    """The beginning of `text` that holds so many characters, white space not counted: what was heard comes
    back with its spaces tidied."""
    for at, char in enumerate(text):
        if not char.isspace():
            if not letters:
                return text[:at]
            letters -= 1
    return text
