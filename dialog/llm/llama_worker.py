"""The worker's side of `dialog.llm.llamacpp`: one model, some conversations kept computed.

Prompts are read in small batches with a sign of life between them, so that a cancelled request ends there.
"""

import json
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from llama_cpp import Llama, LlamaGrammar
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from dialog.llm.base import ToolSpec
from dialog.llm.tooltext import teach
from media.workers.wire import unpack

OTHER = 24  # tokens that a conversation may differ in at its end: how the last answer was written
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""For a file that brings no template of its own."""


def create(settings: dict[str, Any]) -> "LlamaWorker":
    """Load the model."""
    return LlamaWorker(settings)


class LlamaWorker:
    """Implements media.workers.child.Engine."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._contexts = [self._load() for _ in range(settings["contexts"])]  # the file is mapped once
        llama = self._contexts[0]
        template = llama.metadata.get("tokenizer.chat_template", CHATML)
        self._knows_tools = "tools" in template
        self._knows_results = "'tool'" in template or '"tool"' in template
        eos, bos = llama.token_eos(), llama.token_bos()
        self._formatter = Jinja2ChatFormatter(
            template=template,
            eos_token=_piece(llama, eos),
            bos_token=_piece(llama, bos),
            stop_token_ids=[eos],
        )

    def answer(self, request: bytes) -> Iterator[bytes]:
        """Read the prompt, then write."""
        asked, _ = unpack(request)
        prompt, stop = self._prompt(asked)
        add_bos = not self._formatter_adds_bos(prompt)
        tokens = self._contexts[0].tokenize(prompt.encode(), add_bos=add_bos, special=True)
        if not asked["max_tokens"]:
            yield from self._warm(tokens)
            return
        llama = self._nearest(tokens)
        room = llama.n_ctx() - len(tokens)
        if room < 1:
            raise ValueError(f"the conversation has {len(tokens)} tokens, the context {llama.n_ctx()}")
        cached = yield from self._read(llama, tokens)
        counts = {"prompt": len(tokens), "cached": cached}
        yield from self._write(llama, tokens, asked, min(asked["max_tokens"], room), stop, counts)

    def _warm(self, tokens: list[int]) -> Iterator[bytes]:
        """Let every context read what all conversations begin with."""
        for llama in self._contexts:
            yield from self._read(llama, tokens)

    def _load(self) -> Llama:
        settings = self._settings
        return Llama(
            settings["model"],
            n_ctx=settings["context"],
            n_batch=max(settings["batch"], 32),
            n_threads=settings["threads"] or None,
            n_gpu_layers=settings["gpu_layers"],
            verbose=False,
        )

    def _prompt(self, asked: dict[str, Any]) -> tuple[str, list[str]]:
        messages, tools = asked["messages"], asked["tools"]
        if tools and not self._knows_tools and self._settings["teach_tools"]:
            messages = _taught(messages, tools)
        if not self._knows_results:
            messages = [_as_text(message, self._settings["tool_tags"]) for message in messages]
        made = self._formatter(messages=messages, tools=tools or None)
        found = made.stop if isinstance(made.stop, list) else [made.stop] if made.stop else []
        return made.prompt, [*found, *asked["stop"]]

    def _formatter_adds_bos(self, prompt: str) -> bool:
        bos = _piece(self._contexts[0], self._contexts[0].token_bos())
        return bool(bos) and prompt.startswith(bos)

    def _nearest(self, tokens: list[int]) -> Llama:
        """The context whose conversation this prompt goes on with, else the one unused for longest; it
        becomes the youngest. What all conversations begin with is in each of them."""
        best = max(self._contexts, key=lambda llama: _shared(llama, tokens))
        if best.n_tokens - _shared(best, tokens) > OTHER:
            best = self._contexts[0]
        self._contexts.remove(best)
        self._contexts.append(best)
        return best

    def _read(self, llama: Llama, tokens: list[int]) -> Generator[bytes, None, int]:
        """Compute the prompt but its last token, which writing begins with. Returns how many were there."""
        cached = min(_shared(llama, tokens), len(tokens) - 1)
        llama.n_tokens = cached  # `eval` forgets what is behind
        step = self._settings["batch"]
        for at in range(cached, len(tokens) - 1, step):
            llama.eval(tokens[at : min(at + step, len(tokens) - 1)])
            yield b""
        return cached

    def _write(
        self,
        llama: Llama,
        tokens: list[int],
        asked: dict[str, Any],
        limit: int,
        stop: list[str],
        counts: dict[str, int],
    ) -> Iterator[bytes]:
        grammar = None
        if (schema := _schema(asked, self._settings["tool_tags"])) is not None:
            grammar = LlamaGrammar.from_json_schema(json.dumps(schema), verbose=False)
        stream = llama.create_completion(
            tokens,
            max_tokens=limit,
            temperature=asked["temperature"],
            stop=stop,
            stream=True,
            grammar=grammar,
        )
        reason, opened = "end", False
        forced = bool(asked["tool"])
        for chunk in stream:
            choice = chunk["choices"][0]
            if choice["text"]:
                lead = self._settings["tool_tags"][0] if forced and not opened else ""
                opened = True
                yield json.dumps({"text": lead + choice["text"]}).encode()
            if choice["finish_reason"] == "length":
                reason = "length"
        written = llama.n_tokens - len(tokens) + 1  # the last one is not read again
        yield json.dumps({"reason": reason, "completion": written, **counts}).encode()


def _schema(asked: dict[str, Any], tags: Sequence[str]) -> Any:
    """What the answer must look like; None: anything. A tool that must be called is JSON, too."""
    if asked["tool"]:
        tool = next(t["function"] for t in asked["tools"] if t["function"]["name"] == asked["tool"])
        properties = {"name": {"const": tool["name"]}, "arguments": tool["parameters"]}
        return {"type": "object", "properties": properties, "required": ["name", "arguments"]}
    return asked["schema"]


def _taught(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tools as part of the instructions."""
    functions = (tool["function"] for tool in tools)
    specs = [ToolSpec(f["name"], f["description"], f["parameters"]) for f in functions]
    first, rest = messages[:1], messages[1:]
    if not first or first[0]["role"] != "system":
        first, rest = [{"role": "system", "content": ""}], messages
    return [{"role": "system", "content": first[0]["content"] + teach(specs)}, *rest]


def _as_text(message: dict[str, Any], tags: Sequence[str]) -> dict[str, Any]:
    """A call or a result for a template that knows neither."""
    if message["role"] == "tool":
        return {"role": "user", "content": f"<tool_response>{message['content']}</tool_response>"}
    if "tool_calls" in message:
        calls = [call["function"] for call in message["tool_calls"]]
        texts = [f'{{"name": "{c["name"]}", "arguments": {c["arguments"]}}}' for c in calls]
        written = "".join(f"{tags[0]}{text}{tags[1]}" for text in texts)
        return {"role": "assistant", "content": (message["content"] or "") + written}
    return message


def _shared(llama: Llama, tokens: list[int]) -> int:
    """How many tokens at the beginning are computed already."""
    known = llama.input_ids[: llama.n_tokens]
    count = 0
    for ours, theirs in zip(known, tokens, strict=False):
        if int(ours) != theirs:
            break
        count += 1
    return count


def _piece(llama: Llama, token: int) -> str:
    return llama.detokenize([token], special=True).decode(errors="replace") if token >= 0 else ""
