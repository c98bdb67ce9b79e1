"""Plays an agent: one AgentEngine is one conversation, on the phone or in text.

A turn is a few rounds: the model speaks, perhaps calls tools, gets their results and speaks again. Sentences
go out as they are complete. Closing the reply (a barge-in) stops the model and the tool at work; what the
caller heard until then is what the model will know that it said.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import cycle
from typing import Any

from dialog.agent.spec import AgentSpec, Tool
from dialog.agent.talk import Talk
from dialog.agent.toolbox import Toolbox
from dialog.breaker import Switched
from dialog.flow.values import Value
from dialog.llm.base import (
    Finished,
    LanguageModel,
    LlmError,
    LlmRequest,
    StopReason,
    Text,
    ToolCall,
    ToolSpec,
)
from dialog.pump import Pump
from dialog.sentences import SentenceSplitter, speakable
from dialog.turn import TurnPolicy
from dialog.types import (
    Act,
    Answered,
    CallExpired,
    DialogInput,
    Domain,
    Hangup,
    Hints,
    Listen,
    NoInput,
    Note,
    NoteName,
    Say,
    Transfer,
    TransferFailed,
    UserTurn,
)

log = logging.getLogger(__name__)

END_CALL = "end_call"
TRANSFER_CALL = "transfer_call"
ENDINGS = frozenset({END_CALL, TRANSFER_CALL})
SHOWN = 300  # characters of a tool's result in the timeline


@dataclass(frozen=True, slots=True)
class AgentParts:
    """What agents work with, shared by all calls."""

    model: LanguageModel
    tools: Toolbox


@dataclass(slots=True)
class _Round:
    """One request to the model, and what came of it."""

    spoke: bool = False
    calls: list[ToolCall] = field(default_factory=list)
    first_ms: float | None = None
    end: Finished | None = None


class AgentEngine:
    """A DialogEngine. `now` is the local time of the place the agent speaks for."""

    def __init__(
        self,
        spec: AgentSpec,
        parts: AgentParts,
        policy: TurnPolicy,
        now: Callable[[], datetime],
        variables: Mapping[str, Value] | None = None,
    ) -> None:
        self.spec, self._parts = spec, parts
        self._policy = replace(policy, **spec.turn)
        self._values = {**spec.variables, **(variables or {})}
        self._now = now
        self._talk = Talk(spec.instructions.render(self._values, now()), spec.limits.history_tokens)
        self._tools: dict[str, Tool] = {tool.spec.name: tool for tool in spec.tools}
        self._specs = tool_specs(spec)
        self._fillers = cycle(spec.texts.filler)
        self._hints = Hints(sentences=spec.hints)

    @property
    def domain(self) -> Domain:
        """What callers may say."""
        return agent_domain(self.spec)

    async def greet(self) -> AsyncGenerator[Act, None]:
        """The greeting of the file, else the model's."""
        yield Listen(self._hints, self._policy, self.spec.language)
        if self.spec.greeting is not None:
            text = self.spec.greeting.render(self._values, self._now())
            self._talk.begin()
            self._talk.said(text)
            yield Say(text)
            return
        self._talk.event("the call begins, greet the caller")
        async with aclosing(self._answer()) as acts:
            async for act in acts:
                yield act

    async def reply(self, turn: DialogInput) -> AsyncGenerator[Act, None]:
        """Answer."""
        texts = self.spec.texts
        match turn:
            case UserTurn(text="", rejected=True):
                yield self._aside(texts.not_heard)
                return
            case UserTurn():
                self._talk.user(turn.text, continues=turn.continues)
            case NoInput(count, _, last):
                silent = texts.no_input[min(count, len(texts.no_input)) - 1]
                yield self._aside(texts.silent if last else silent)
                return
            case CallExpired():
                yield self._aside(texts.expired)
                yield Hangup("expired")
                return
            case Answered(by):
                self._talk.event(f"no person has answered, but: {by.value}")
            case TransferFailed(target, reason):
                self._talk.event(f"nobody could be reached at {self._called(target)} ({reason}); say so")
        async with aclosing(self._answer()) as acts:
            async for act in acts:
                yield act

    def heard(self, text: str, complete: bool) -> None:  # noqa: FBT001 - the port has it so
        """The truth for the history."""
        self._talk.heard(text, complete=complete)

    def _aside(self, text: str) -> Say:
        self._talk.aside(text)
        return Say(text)

    def _called(self, target: str) -> str:
        return next((name for name, number in self.spec.transfers.items() if number == target), target)

    # One turn

    async def _answer(self) -> AsyncGenerator[Act, None]:
        try:
            async with aclosing(self._rounds()) as acts:
                async for act in acts:
                    yield act
        except LlmError as error:
            log.error("agent has no answer", extra={"agent": self.spec.name, "error": str(error)})
            yield Note("llm_failed", {"error": str(error)})
            target = self.spec.transfers.get(self.spec.on_failed)
            if target is None:
                raise  # the call apologises, and after some such turns ends
            yield self._aside(self.spec.texts.failed)
            yield Transfer(target)

    async def _rounds(self) -> AsyncGenerator[Act, None]:
        for number in range(self.spec.limits.rounds):
            found = _Round()
            last = number + 1 == self.spec.limits.rounds
            async with aclosing(self._round(found, last=last)) as acts:
                async for act in acts:
                    yield act
            # No tools were offered in the last round: what is called there all the same is not done.
            calls = [call for call in found.calls if not last or call.name in ENDINGS]
            if not calls:
                if not found.spoke:
                    raise LlmError(f"{self.spec.name}: an answer without a word", retryable=True)
                return
            self._talk.called(calls)
            ending: Act | None = None
            for call in calls:
                if call.name in ENDINGS:
                    ending = ending or self._ending(call)
                    continue
                async with aclosing(self._use(call)) as acts:
                    async for act in acts:
                        yield act
            if ending is not None:
                if not found.spoke:
                    texts = self.spec.texts
                    yield self._aside(texts.goodbye if isinstance(ending, Hangup) else texts.transfer)
                yield ending
                return
        raise LlmError(f"{self.spec.name}: the last round ended in a transfer to nobody", retryable=True)

    def _ending(self, call: ToolCall) -> Act | None:
        """The end of the call as the model wants it; None, and the model told, if that cannot be."""
        if call.name == END_CALL:
            self._talk.returned(call, "done")
            return Hangup()
        try:
            name = str(json.loads(call.arguments or "{}").get("to", ""))  # models also send a list of one
        except (json.JSONDecodeError, AttributeError):
            name = ""
        target = self.spec.transfers.get(name)
        if target is None:
            known = ", ".join(self.spec.transfers)
            self._talk.returned(call, f"error: there is no {name!r}; known are {known}")
            return None
        self._talk.returned(call, "connecting")
        return Transfer(target)

    async def _round(self, found: _Round, *, last: bool) -> AsyncGenerator[Act, None]:
        """Ask the model and speak what it says. The last round has no tools: an answer must come."""
        clock = asyncio.get_running_loop().time
        request = LlmRequest(self._talk.messages(), tools=() if last else self._specs)
        began, splitter, filled = clock(), SentenceSplitter(), False
        self._talk.begin()
        pump = Pump(self._parts.model.generate(request), "agent")
        try:
            while True:
                try:
                    waiting = found.first_ms is None and not filled
                    chunk = await pump.next(self._patience() if waiting else None)
                except TimeoutError:
                    filled = True
                    yield self._aside(next(self._fillers))
                    continue
                if isinstance(chunk, Switched):
                    yield Note(NoteName.SWITCHED, {"kind": "llm", **asdict(chunk)})
                    continue
                if found.first_ms is None:
                    found.first_ms = (clock() - began) * 1000
                match chunk:
                    case Text(text):
                        for sentence in splitter.push(text):
                            yield self._say(sentence, found)
                    case ToolCall():
                        found.calls.append(chunk)
                    case Finished():
                        found.end = chunk
                    case None:
                        break
        finally:
            await pump.close()
        for sentence in splitter.flush():
            yield self._say(sentence, found)
        yield self._cost(found, (clock() - began) * 1000)

    def _patience(self) -> float | None:
        return self.spec.limits.filler_ms / 1000 or None

    def _say(self, sentence: str, found: _Round) -> Act:
        self._talk.said(sentence)
        if not speakable(sentence):
            return Note("unspeakable", {"text": sentence})
        found.spoke = True
        return Say(sentence)

    def _cost(self, found: _Round, took_ms: float) -> Note:
        end = found.end or Finished()
        data: dict[str, Any] = {"model": end.model, "took_ms": round(took_ms)}
        if found.first_ms is not None:
            data["first_token_ms"] = round(found.first_ms)
        if end.usage is not None:
            usage = end.usage
            data |= {"prompt": usage.prompt, "completion": usage.completion, "cached": usage.cached}
        if end.cost is not None:
            data["cost"] = round(end.cost, 6)
        if end.reason is not StopReason.END:
            data["stopped"] = end.reason.value
        return Note(NoteName.LLM, data)

    # Tools

    async def _use(self, call: ToolCall) -> AsyncGenerator[Act, None]:
        """Run a tool; say something while it takes long. Closing this stops it."""
        clock = asyncio.get_running_loop().time
        began, tool = clock(), self._tools.get(call.name)
        if tool is None:
            result, ok = f"error: there is no tool {call.name!r}", False
        else:
            pump = Pump(self._run(tool, call.arguments), f"tool {call.name}")
            try:
                found = None
                try:
                    found = await pump.next(self._patience())
                except TimeoutError:
                    yield self._aside(next(self._fillers))
                    found = await pump.next()
                result, ok = found or ("error: the tool was stopped", False)
            finally:
                await pump.close()
        self._talk.returned(call, result)
        data = {"name": call.name, "arguments": call.arguments, "result": result[:SHOWN], "ok": ok}
        yield Note(NoteName.TOOL, {**data, "took_ms": round((clock() - began) * 1000)})

    async def _run(self, tool: Tool, arguments: str) -> AsyncGenerator[tuple[str, bool], None]:
        yield await self._parts.tools.run(tool, arguments)


def agent_domain(spec: AgentSpec) -> Domain:
    """What callers of this agent may say."""
    return Domain(spec.name, spec.language, (Hints(sentences=spec.hints),))


def tool_specs(spec: AgentSpec) -> tuple[ToolSpec, ...]:
    """All that the model may call: the file's tools, and the call's own."""
    specs = [tool.spec for tool in spec.tools]
    if spec.transfers:
        to = {"type": "string", "enum": list(spec.transfers)}
        schema = {"type": "object", "properties": {"to": to}, "required": ["to"]}
        about = "Connect the caller with somebody else. Say so first."
        specs.append(ToolSpec(TRANSFER_CALL, about, schema))
    if spec.end_call:
        specs.append(ToolSpec(END_CALL, "Hang up, when the conversation is over. Say goodbye first."))
    return tuple(specs)
