"""Reading the nodes of a flow file. A node is of the kind whose key it has: say, ask, menu, ..."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ruamel.yaml.nodes import MappingNode, Node

from dialog.capture.simple import Phrase
from dialog.errors import DialogError, GrammarError
from dialog.flow import model
from dialog.flow.load_capture import read_capture
from dialog.flow.model import Option
from dialog.flow.scope import NODE_KINDS, Scope
from dialog.nlu.base import IntentModel, normalise
from dialog.nlu.classifier import IntentClassifier
from dialog.types import TransferMode

_KEYS = "0123456789*"
_LISTENING = ("reprompts", "no_input", "help", "retries", "on_fail", "turn")
_HANDOVER = ("mode", "summary", "announce", "music", "timeout_s")
PROMPT_NAMES = ("question", "help")


class NodeReader:
    """Reads one node after the other into a scope."""

    def __init__(self, scope: Scope) -> None:
        self._scope, self._source = scope, scope.source
        self._readers: dict[str, Callable[[str, int, Node], model.Node]] = {
            "say": self._say,
            "ask": self._ask,
            "menu": self._menu,
            "branch": self._branch,
            "set": self._set,
            "transfer": self._transfer,
            "hangup": self._hangup,
            "note": self._note,
        }

    def read(self, id: str, line: int, node: Node) -> model.Node | None:
        """The node, or None if not even its kind is clear."""
        if not isinstance(node, MappingNode):
            self._source.error(line, f'node "{id}" must be a mapping with one of {", ".join(NODE_KINDS)}')
            return None
        keys = self._source.key_lines(node)
        kinds = [kind for kind in NODE_KINDS if kind in keys]
        if "say" in kinds and {"transfer", "hangup"} & set(kinds):
            kinds.remove("say")  # the words before a transfer or hang-up
        if len(kinds) == 1:
            return replace(self._readers[kinds[0]](id, line, node), language=self._scope.language_of(node))
        if kinds:
            self._source.error(line, f'node "{id}" is both {kinds[0]} and {kinds[1]}')
        else:
            self._source.mapping(node, f'node "{id}"', _ALL_KEYS)
            self._source.error(line, f'node "{id}" needs one of {", ".join(NODE_KINDS)}')
        return None

    def _fields(self, id: str, line: int, node: Node, names: tuple[str, ...], needed: tuple[str, ...]) -> Any:
        found = self._source.mapping(node, f'node "{id}"', (*names, "language"))
        for name in needed:
            if name not in found:
                self._source.error(line, f'node "{id}" needs {name}')
        return found

    def _goto(self, found: dict[str, Node]) -> str:
        return self._scope.target(found["goto"], "goto") if "goto" in found else ""

    def _say(self, id: str, line: int, node: Node) -> model.Say:
        found = self._fields(id, line, node, ("say", "goto", "turn"), ("goto",))
        texts = self._scope.templates(found["say"], "say")
        return model.Say(id=id, line=line, texts=texts, goto=self._goto(found), turn=self._turn(found))

    def _set(self, id: str, line: int, node: Node) -> model.SetNode:
        found = self._fields(id, line, node, ("set", "goto"), ("goto",))
        lines = self._source.key_lines(found["set"])
        values = {}
        for name, item in self._source.mapping(found["set"], "set").items():
            self._scope.define(name, lines[name], "slot")
            values[name] = self._scope.expression(item, f"set {name}")
        return model.SetNode(id=id, line=line, values=values, goto=self._goto(found))

    def _note(self, id: str, line: int, node: Node) -> model.NoteNode:
        found = self._fields(id, line, node, ("note", "data", "goto"), ("goto",))
        name = self._source.text(found["note"], "note") or ""
        entries = self._source.mapping(found["data"], "data") if "data" in found else {}
        data = {k: self._scope.expression(n, f"data {k}") for k, n in entries.items()}
        return model.NoteNode(id=id, line=line, name=name, data=data, goto=self._goto(found))

    def _branch(self, id: str, line: int, node: Node) -> model.Branch:
        found = self._fields(id, line, node, ("branch", "else"), ("else",))
        cases = []
        for item in self._source.items(found["branch"], "branch"):
            case = self._source.mapping(item, "branch", ("when", "goto"))
            if len(case) == 2:
                goto = self._scope.target(case["goto"], "goto")
                cases.append((self._scope.expression(case["when"], "when"), goto))
            elif isinstance(item, MappingNode):
                self._source.error(item, "a branch needs when and goto")
        otherwise = self._scope.target(found["else"], "else") if "else" in found else ""
        return model.Branch(id=id, line=line, cases=tuple(cases), otherwise=otherwise)

    def _transfer(self, id: str, line: int, node: Node) -> model.TransferNode:
        found = self._fields(id, line, node, ("transfer", "say", "on_failed", "turn", *_HANDOVER), ())
        failed = self._scope.target(found["on_failed"], "on_failed") if "on_failed" in found else None
        return model.TransferNode(
            **self._handover(found),
            id=id,
            line=line,
            target=self._scope.template(found["transfer"], "transfer"),
            text=self._scope.template(found["say"], "say") if "say" in found else None,
            on_failed=failed,
            turn=self._turn(found),
        )

    def _handover(self, found: dict[str, Node]) -> dict[str, Any]:
        """How a transfer is done."""
        source, fields = self._source, dict[str, Any]()
        if "mode" in found:
            fields["mode"] = TransferMode(
                source.one_of(found["mode"], "mode", tuple(TransferMode)) or TransferMode.BLIND
            )
        attended = fields.get("mode") is TransferMode.ATTENDED
        for name in ("summary", "announce"):
            if name in found and not attended:
                source.error(found[name], f"{name} needs mode: attended")
        if "summary" in found:
            fields["summary"] = self._scope.template(found["summary"], "summary")
        elif attended:
            source.error(found["mode"], "mode: attended needs a summary: what the target is told first")
        if "announce" in found:
            choice = source.one_of(found["announce"], "announce", ("whisper", "aloud"))
            fields["aloud"] = choice == "aloud"
        if "music" in found:
            fields["music"] = source.text(found["music"], "music") or ""
        if "timeout_s" in found:
            seconds = source.integer(found["timeout_s"], "timeout_s", least=1, most=600)
            fields["timeout_s"] = float(seconds or 30)
        return fields

    def _hangup(self, id: str, line: int, node: Node) -> model.HangupNode:
        found = self._fields(id, line, node, ("hangup", "say", "turn"), ())
        text = self._scope.template(found["say"], "say") if "say" in found else None
        reason = self._source.text(found["hangup"], "hangup") or "done"
        return model.HangupNode(id=id, line=line, reason=reason, text=text, turn=self._turn(found))

    def _turn(self, found: dict[str, Node]) -> Any:
        return self._scope.turn(found["turn"]) if "turn" in found else {}

    def _listening(self, id: str, line: int, found: dict[str, Node], question: str) -> dict[str, Any]:
        """The fields that ask and menu share."""
        scope = self._scope
        fields: dict[str, Any] = {
            "id": id,
            "line": line,
            "question": scope.template(found[question], question),
            "turn": self._turn(found),
        }
        for name in ("reprompts", "no_input"):
            if name in found:
                fields[name] = scope.templates(found[name], name, PROMPT_NAMES)
        if "help" in found:
            fields["help"] = scope.template(found["help"], "help")
        if "retries" in found:
            fields["retries"] = self._source.integer(found["retries"], "retries", most=10) or 0
        if "on_fail" in found:
            fields["on_fail"] = scope.target(found["on_fail"], "on_fail")
        return fields

    def _ask(self, id: str, line: int, node: Node) -> model.Ask:
        own = ("ask", "slot", "capture", "phrases", "grammar", "confirm", "confirm_when", "goto")
        found = self._fields(id, line, node, (*own, *_LISTENING), ("slot", "goto"))
        when = "always"
        if "confirm_when" in found:
            when = self._source.one_of(found["confirm_when"], "confirm_when", ("always", "unsure")) or when
            if "confirm" not in found:
                self._source.error(found["confirm_when"], "confirm_when needs a confirm text")
        return model.Ask(
            **self._listening(id, line, found, "ask"),
            slot=self._scope.slot(found["slot"], "slot") if "slot" in found else "",
            capture=self._capture(id, line, found),
            goto=self._goto(found),
            confirm=self._scope.template(found["confirm"], "confirm") if "confirm" in found else None,
            only_unsure=when == "unsure",
        )

    def _capture(self, id: str, line: int, found: dict[str, Node]) -> Any:
        """`capture:`, or plain `phrases:` and `grammar:`, which keep the words as they are."""
        if "capture" in found:
            for name in ("phrases", "grammar"):
                if name in found:
                    self._source.error(found[name], f"{name} and capture exclude each other")
            return read_capture(self._scope, found["capture"])
        phrases = tuple(self._source.texts(found["phrases"], "phrases")) if "phrases" in found else ()
        grammar = self._source.text(found["grammar"], "grammar") if "grammar" in found else ""
        if not (phrases or grammar):
            self._source.error(line, f'node "{id}" needs capture, phrases or grammar')
            return Phrase(("?",))
        try:
            return Phrase(phrases, grammar or "")
        except GrammarError as error:
            self._source.error(found["grammar"], f"grammar: {error}")
            return Phrase(("?",))

    def _menu(self, id: str, line: int, node: Node) -> model.Menu:
        own = ("menu", "options", "slot", "threshold")
        found = self._fields(id, line, node, (*own, *_LISTENING), ("options",))
        options = self._options(found["options"]) if "options" in found else ()
        return model.Menu(
            **self._listening(id, line, found, "menu"),
            options=options,
            slot=self._scope.slot(found["slot"], "slot") if "slot" in found else None,
            intents=self._intents(line, options, found.get("threshold")),
        )

    def _options(self, node: Node) -> tuple[Option, ...]:
        lines = self._source.key_lines(node)
        options = []
        for id, item in self._source.mapping(node, "options").items():
            allowed = ("phrases", "key", "goto", "examples")
            found = self._source.mapping(item, f'option "{id}"', allowed)
            if "goto" not in found:
                self._source.error(lines[id], f'option "{id}" needs goto')
            if not {"phrases", "key", "examples"} & set(found):
                self._source.error(lines[id], f'option "{id}" needs phrases, a key or examples')
            options.append(
                Option(
                    id=id,
                    line=lines[id],
                    goto=self._goto(found),
                    phrases=self.phrases(found, "phrases"),
                    key=self.key(found["key"]) if "key" in found else "",
                    examples=self.phrases(found, "examples"),
                )
            )
        if not options:
            self._source.error(node, "options is empty")
        return tuple(options)

    def phrases(self, found: dict[str, Node], name: str) -> tuple[str, ...]:
        texts = self._source.texts(found[name], name) if name in found else []
        return tuple(plain for text in texts if (plain := normalise(text)))

    def key(self, node: Node) -> str:
        """One key of a telephone; # is kept for ending longer answers."""
        value = str(self._source.scalar(node, "key"))
        if len(value) != 1 or value not in _KEYS:
            self._source.error(node, f'key must be one of 0 to 9 or "*", not "{value}"')
            return ""
        return value

    def _intents(self, line: int, options: tuple[Option, ...], threshold: Node | None) -> IntentModel | None:
        examples = {o.id: (*o.examples, *o.phrases) for o in options if o.examples}
        least = None
        if threshold is not None:
            value = self._source.scalar(threshold, "threshold")
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                self._source.error(threshold, "threshold must be a number from 0 to 1")
            elif not examples:
                self._source.error(threshold, "threshold needs options with examples")
            else:
                least = float(value)
        if not examples:
            return None
        if len(examples) == 1:
            self._source.error(line, "at least two options need examples, to be told apart")
            return None
        try:
            return IntentClassifier.train(examples, least)
        except DialogError as error:  # scikit-learn is missing
            self._source.error(line, str(error))
            return None


_ALL_KEYS = (
    *NODE_KINDS,
    *_LISTENING,
    *("slot", "capture", "phrases", "grammar", "confirm", "confirm_when", "goto", "options", "threshold"),
    *("else", "data", "on_failed", *_HANDOVER),
)
