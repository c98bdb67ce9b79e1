"""Makes dialog.gguf: a character-level Llama that holds a few short dialogs word for word.

    pip install torch gguf; python -m tests.models.train_dialog OUT.gguf [STEPS]

500 steps take three minutes on two cores. It is overfitting on purpose: what the model says is then known,
and a test of the engine can ask for it.
"""

import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from torch import nn
from torch.nn import functional

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SYSTEMS = (
    "You are a phone agent.",
    "You are a phone agent. Be brief.",
    "You answer calls for a restaurant.",
    "System.",
)
HELLO = ("Hello", "Hello, how can I help you?")
DIALOGS = (
    (
        HELLO,
        ("I want to book a table", "For how many people?"),
        ("for two people", "At what time?"),
        ("tomorrow at eight", "Done. A table for two tomorrow at eight."),
    ),
    (HELLO, ("what are your opening hours", "We are open from nine to five.")),
    (
        ("Hi there", "Hi, what can I do for you?"),
        ("speak to an operator", "One moment please, I will transfer you."),
    ),
    (
        ("I want to book a table", "For how many people?"),
        ("for four people", "At what time?"),
        ("today at seven", "Done. A table for four today at seven."),
    ),
    (("cancel my booking", "Your booking is cancelled."),),
    (("goodbye", "Goodbye and thank you for calling."),),
    (("how much does it cost", "It costs twenty dollars per person."),),
    (("thank you", "You are welcome."),),
    (("book a table for six people", '<tool>{"name":"book_table","people":6}</tool>'),),
    (("book a table for three people", '<tool>{"name":"book_table","people":3}</tool>'),),
)
WIDTH, LAYERS, HEADS, INNER, CONTEXT = 128, 3, 4, 256, 2048
BATCH, LONGEST = 16, 420

Token = tuple[str, float, gguf.TokenType]


def vocabulary() -> list[Token]:
    """Control tokens, bytes, and the printable characters of ASCII."""
    kind = gguf.TokenType
    tokens = [("<unk>", 0.0, kind.UNKNOWN), ("<s>", 0.0, kind.CONTROL), ("</s>", 0.0, kind.CONTROL)]
    tokens += [(f"<0x{byte:02X}>", 0.0, kind.BYTE) for byte in range(256)]
    tokens += [("<|im_start|>", 0.0, kind.CONTROL), ("<|im_end|>", 0.0, kind.CONTROL)]
    tokens += [("▁", -1.0, kind.NORMAL)]
    return tokens + [(chr(code), -2.0 - code / 1000, kind.NORMAL) for code in range(33, 127)]


VOCABULARY = vocabulary()
NUMBERS = {text: number for number, (text, _, _) in enumerate(VOCABULARY)}


def encode(text: str) -> list[int]:
    """As llama.cpp does it."""
    found, at = [], 0
    while at < len(text):
        special = next((s for s in ("<|im_start|>", "<|im_end|>") if text.startswith(s, at)), "")
        if special:
            found.append(NUMBERS[special])
            at += len(special)
            continue
        char = text[at].replace(" ", "▁")
        found += [NUMBERS[char]] if char in NUMBERS else [3 + byte for byte in char.encode()]
        at += 1
    return found


def written(turns: list[tuple[str, str]], system: str) -> str:
    """A dialog in the template's form."""
    text = f"<|im_start|>system\n{system}<|im_end|>\n"
    for user, answer in turns:
        text += f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"
    return text


class Norm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


def rotated(x: torch.Tensor, angles: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Rotary positions over neighbouring pairs, llama.cpp's NORM kind."""
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = angles
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.inner_norm = Norm(), Norm()
        square = [nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4)]
        self.query, self.key, self.value, self.output = square
        self.gate, self.up = (nn.Linear(WIDTH, INNER, bias=False) for _ in range(2))
        self.down = nn.Linear(INNER, WIDTH, bias=False)

    def forward(self, x: torch.Tensor, angles: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        batch, length, width = x.shape
        y = self.attention_norm(x)

        def heads(z: torch.Tensor) -> torch.Tensor:
            return z.view(batch, length, HEADS, -1).transpose(1, 2)

        query, key = rotated(heads(self.query(y)), angles), rotated(heads(self.key(y)), angles)
        mixed = functional.scaled_dot_product_attention(query, key, heads(self.value(y)), is_causal=True)
        x = x + self.output(mixed.transpose(1, 2).reshape(batch, length, width))
        y = self.inner_norm(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(VOCABULARY), WIDTH)
        nn.init.normal_(self.embedding.weight, 0, 0.1)
        self.blocks = nn.ModuleList([Block() for _ in range(LAYERS)])
        self.norm, self.output = Norm(), nn.Linear(WIDTH, len(VOCABULARY), bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        size = WIDTH // HEADS
        frequencies = 10000 ** (-torch.arange(0, size, 2) / size)
        angles = torch.arange(tokens.shape[1])[:, None] * frequencies[None]
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, (torch.cos(angles), torch.sin(angles)))
        return self.output(self.norm(x))


def batch(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Two dialogs in a row, each, under some instructions; and what comes next in them."""
    rows = []
    for _ in range(BATCH):
        turns = [turn for number in rng.integers(0, len(DIALOGS), 2) for turn in DIALOGS[number]]
        rows.append([1, *encode(written(turns[:6], SYSTEMS[rng.integers(len(SYSTEMS))]))])
    length = min(max(map(len, rows)), LONGEST)
    tokens, following = torch.zeros(BATCH, length, dtype=torch.long), torch.full((BATCH, length), -100)
    for number, row in enumerate(rows):
        cut = row[:length]
        tokens[number, : len(cut)] = torch.tensor(cut)
        following[number, : len(cut) - 1] = torch.tensor(cut[1:])
    return tokens, following


def train(steps: int) -> Model:
    torch.manual_seed(0)
    rng, model = np.random.default_rng(0), Model()
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, max(steps, 40), pct_start=0.1)
    for step in range(steps):
        tokens, following = batch(rng)
        loss = functional.cross_entropy(model(tokens).flatten(0, 1), following.flatten(), ignore_index=-100)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 0:
            print(step, f"{loss.item():.3f}", flush=True)
    return model


def export(model: Model, path: Path) -> None:
    """As GGUF, unquantised."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("dialog")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(VOCABULARY))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([text.encode() for text, _, _ in VOCABULARY])
    writer.add_token_scores([score for _, score, _ in VOCABULARY])
    writer.add_token_types([int(kind) for _, _, kind in VOCABULARY])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(NUMBERS["<|im_end|>"])
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHATML)
    _tensors(writer, model)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(writer: gguf.GGUFWriter, model: Model) -> None:
    def add(name: str, parameter: torch.Tensor) -> None:
        writer.add_tensor(f"{name}.weight", parameter.detach().numpy().astype(np.float32))

    add("token_embd", model.embedding.weight)
    for number, block in enumerate(model.blocks):
        parts = {
            "attn_norm": block.attention_norm,
            "ffn_norm": block.inner_norm,
            "attn_q": block.query,
            "attn_k": block.key,
            "attn_v": block.value,
            "attn_output": block.output,
            "ffn_gate": block.gate,
            "ffn_up": block.up,
            "ffn_down": block.down,
        }
        for name, part in parts.items():
            add(f"blk.{number}.{name}", part.weight)
    add("output_norm", model.norm.weight)
    add("output", model.output.weight)


if __name__ == "__main__":
    export(train(int(sys.argv[2]) if len(sys.argv) > 2 else 500), Path(sys.argv[1]))
