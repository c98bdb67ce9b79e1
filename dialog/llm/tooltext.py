"""Tool calls in running text, as local models write them: sans-I/O.

    Let me see. <tool_call>{"name": "book", "arguments": {"people": 4}}</tool_call>

Models of the Hermes and Qwen families are trained on these tags; others learn them from the instructions.
Text is given out as it comes, but for the beginning of what may become a tag.
"""

import json
from collections.abc import Sequence
from typing import Any

from dialog.llm.base import Chunk, Text, ToolCall, ToolSpec

OPEN, CLOSE = "<tool_call>", "</tool_call>"

_TEACH = f"""

You may call tools. To call one, write {OPEN}{{"name": "...", "arguments": {{...}}}}{CLOSE} and nothing
behind it. The tools, with the JSON schema of their arguments:
"""


class ToolText:
    """Reads one answer."""

    def __init__(self, open: str = OPEN, close: str = CLOSE) -> None:
        self._open, self._close = open, close
        self._text = ""
        self._inside = False
        self._calls = 0

    def push(self, text: str) -> list[Chunk]:
        """What can be given out now."""
        self._text += text
        found: list[Chunk] = []
        while True:
            tag = self._close if self._inside else self._open
            before, has_tag, after = self._text.partition(tag)
            if not has_tag:
                break
            found += [self._call(before)] if self._inside else [Text(before)] if before else []
            self._inside, self._text = not self._inside, after
        if not self._inside:
            keep = _overlap(self._text, self._open)
            ready, self._text = self._text[: len(self._text) - keep], self._text[len(self._text) - keep :]
            if ready:
                found.append(Text(ready))
        return found

    def flush(self) -> list[Chunk]:
        """The answer is over. A call that was not closed counts if it is whole."""
        text, self._text = self._text, ""
        if not self._inside:
            return [Text(text)] if text else []
        self._inside = False
        return [self._call(text)]

    def _call(self, text: str) -> Chunk:
        """What stands between the tags: {"name", "arguments"}, or the arguments beside the name."""
        self._calls += 1
        name, arguments = "", text
        try:
            found: Any = json.loads(text)
            name = str(found.pop("name"))
            given = found.get("arguments", found.get("parameters", found))
            arguments = given if isinstance(given, str) else json.dumps(given)
        except (ValueError, TypeError, AttributeError, KeyError):
            pass  # a call of nothing: whoever runs tools tells the model
        return ToolCall(f"call_{self._calls}", name, arguments)


def teach(tools: Sequence[ToolSpec]) -> str:
    """For the instructions of a model whose template does not know tools."""
    shown = ({"name": t.name, "description": t.description, "parameters": t.parameters} for t in tools)
    lines = map(json.dumps, shown)
    return _TEACH + "\n".join(lines)


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of `text` may be the beginning of `tag`."""
    return next((n for n in range(min(len(text), len(tag) - 1), 0, -1) if text.endswith(tag[:n])), 0)
