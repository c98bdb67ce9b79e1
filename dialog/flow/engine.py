"""Plays a Flow: one FlowEngine is one conversation, on the phone or in text.

A turn is decided whole and at once - state first, then the acts are handed out - so a reply that is
cut leaves the state where it was decided, and `continues` takes the whole turn back by a snapshot.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from dialog.errors import ExpressionError, FlowRunError
from dialog.flow.foresee import foresee
from dialog.flow.listening import ears_of
from dialog.flow.model import Flow
from dialog.flow.plan import Plan
from dialog.flow.source import did_you_mean
from dialog.flow.state import State, load_state
from dialog.flow.values import Value
from dialog.flow.walk import Walk
from dialog.history import History
from dialog.lexicon import mark
from dialog.turn import Interrupt, TurnPolicy
from dialog.types import Act, AnsweredBy, DialogInput, Domain, Hangup, Listen, Say, UserTurn

log = logging.getLogger(__name__)

A = TypeVar("A", bound=Act)

MAX_FAILURES = 2  # turns in a row in which the flow fails before the call is ended
_FINAL = frozenset({"expired", "no_match", "flow_error"})  # ends that no interruption shall stop


class FlowEngine:
    """A DialogEngine. `now` is the local time of the place the flow speaks for.

    `variables` replace the flow's own of the same name; an unknown name raises ValueError.
    """

    def __init__(
        self,
        flow: Flow,
        policy: TurnPolicy,
        now: Callable[[], datetime],
        variables: Mapping[str, Value] | None = None,
    ) -> None:
        for name in variables or {}:
            if name not in flow.variables:
                hint = did_you_mean(name, flow.variables)
                raise ValueError(f'flow {flow.name!r} has no variable "{name}"{hint}')
        self.flow, self.history = flow, History()
        self._policy, self._clock, self._ears = policy, now, ears_of(flow)
        self._initial: dict[str, Value] = {
            **dict.fromkeys(flow.slots),
            **flow.variables,
            **(variables or {}),
        }
        self._state = State(flow.start, dict(self._initial))
        self._before = self._state.snapshot()
        self._restored = False  # `greet` then goes on instead of beginning
        self.on_listening: Callable[[list[Say]], None] | None = None
        """Told after each turn what may be said next: whoever speaks may prepare it."""
        self._domain = Domain(flow.name, flow.language, self._ears.all_hints, flow.others)

    @property
    def domain(self) -> Domain:
        return self._domain

    async def greet(self) -> AsyncGenerator[Act, None]:
        for act in self._turn(None):
            yield self._pronounced(act)
        self._look_ahead()

    async def reply(self, turn: DialogInput) -> AsyncGenerator[Act, None]:
        if isinstance(turn, UserTurn):
            self.history.caller_said(turn.text, understood=not turn.rejected, continues=turn.continues)
        for act in self._turn(turn):
            yield self._pronounced(act)
        self._look_ahead()

    def heard(self, text: str, complete: bool) -> None:  # noqa: FBT001 - the port has it so
        self.history.bot_heard(text, complete=complete)

    @property
    def answered_by(self) -> frozenset[AnsweredBy]:
        """Who else than a person this flow has something for; none: nobody need find out who has answered."""
        return frozenset(self.flow.answered_by)

    @property
    def slots(self) -> Mapping[str, Value]:
        """What is known so far."""
        return dict(self._state.slots)

    @property
    def node(self) -> str:
        """The node where the conversation stands."""
        return self._state.node

    def dump(self) -> dict[str, object]:
        """The state as JSON can hold it; the history is the channel's to keep."""
        return self._state.dump(self.flow)

    def restore(self, data: Mapping[str, object]) -> None:
        """Go on where `dump` was made: `greet` then asks the last question again. Raises FlowRunError if it
        does not fit this flow."""
        self._state = load_state(self.flow, data)
        self._restored = True
        self._before = self._state.snapshot()

    def _turn(self, turn: DialogInput | None) -> list[Act]:
        """Decide a turn, None being the first. A flow that fails apologises and stays where it was."""
        if isinstance(turn, UserTurn) and turn.continues:
            self._state = self._before.snapshot()
        self._before = self._state.snapshot()
        walk = Walk(self.flow, self._ears, self._state, self._initial, self._clock())
        try:
            if turn is None and self._restored:
                walk.ask_again()
            elif turn is None:
                walk.go(self.flow.start)
            else:
                walk.answer(turn)
            self._state.failures = 0
            plan = walk.plan
        except (ExpressionError, FlowRunError) as error:
            plan = self._failed(error)
        return self._acts(plan)

    def _look_ahead(self) -> None:
        if self.on_listening is not None:
            says = foresee(self.flow, self._ears, self._state, self._initial, self._clock())
            self.on_listening([self._pronounced(say) for say in says])

    def _pronounced(self, act: A) -> A:
        """What is said, with the names of the flow's lexicon marked up."""
        if isinstance(act, Say):
            return replace(act, text=mark(act.text, self.flow.lexicon))
        return act

    def _failed(self, error: Exception) -> Plan:
        where, failures = self._state.node, self._before.failures + 1
        log.error("flow failed", extra={"flow": self.flow.name, "node": where, "pii_error": str(error)})
        self._state = replace(self._before.snapshot(), failures=failures)
        plan, language = Plan(), self._state.language
        plan.language = language
        plan.note("flow_error", node=where, error=str(error))
        plan.say(self.flow.texts.fallback.render({}, self._clock(), language))
        if failures >= MAX_FAILURES or not self._state.question:
            plan.end = Hangup("flow_error")
        else:
            plan.say(self._state.question)
        return plan

    def _acts(self, plan: Plan) -> list[Act]:
        node, confirming = self.flow.nodes[self._state.node], self._state.pending is not None
        policy = self._ears.policy(self._policy, node, confirming=confirming)
        if isinstance(plan.end, Hangup) and plan.end.reason in _FINAL:
            policy = replace(policy, interrupt=Interrupt.NEVER)
        hints = self._ears.hints(node, confirming=confirming)
        ears = Listen(hints, policy, self._state.language or self.flow.language)
        return plan.acts(ears, lambda said: self._ears.policy(self._policy, said))
