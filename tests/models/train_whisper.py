"""Makes the folder whisper/: a Whisper of 0.8 million parameters that understands sixteen phrases.

    pip install torch ctranslate2 tokenizers faster-whisper; python -m tests.models.train_whisper OUT [STEPS]

1500 steps take eleven minutes on two cores. The phrases are spoken by voices of flite, moved about, made
louder and softer, faster and slower, put into noise and through G.711; noise alone is marked as no speech.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from ctranslate2.specs import whisper_spec
from faster_whisper.feature_extractor import FeatureExtractor
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from torch.nn import functional

from media.codecs.g711 import PCMU
from tests.callers import caller

PHRASES = (
    "yes please",
    "no thank you",
    "i want to book a table",
    "for two people",
    "for four people",
    "tomorrow at eight",
    "today at seven",
    "what are your opening hours",
    "speak to an operator",
    "cancel my booking",
    "my name is john smith",
    "goodbye",
    "can you repeat that",
    "how much does it cost",
    "the code is one two three four",
    "check my account balance",
)
VOICES = ("slt", "rms", "awb")
WIDTH, LAYERS, HEADS, MELS = 96, 2, 4, 80
WINDOW = 600  # frames of 10 ms that it is mostly trained on
VARIANTS, BATCH = 30, 24


def tokenizer() -> Tokenizer:
    """Bytes, the phrases' words as whole tokens, and Whisper's own tokens."""
    vocabulary = {char: number for number, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges, split = [], pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for word in sorted({word for phrase in PHRASES for word in phrase.split()}):
        chars = [char for part, _ in split.pre_tokenize_str(f" {word}") for char in part]
        current = chars[0]
        for char in chars[1:]:
            if current + char not in vocabulary:
                vocabulary[current + char] = len(vocabulary)
                merges.append((current, char))
            current += char
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    names = ("endoftext", "startoftranscript", "en", "translate", "transcribe", "startoflm", "startofprev")
    special = [f"<|{name}|>" for name in (*names, "nospeech", "notimestamps")]
    special += [f"<|{number * 0.02:.2f}|>" for number in range(1501)]
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    return made


TOKENS = tokenizer()


def token(name: str) -> int:
    return int(TOKENS.token_to_id(f"<|{name}|>"))


def heard(pcm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Speech at 8 kHz as a telephone brings it: 16 kHz floats, by repeating samples as callers' audio was."""
    level = 32768 * 10 ** (rng.uniform(-32, -20) / 20)
    loud = pcm[np.abs(pcm) > np.abs(pcm).max() * 0.02]
    speech = pcm * (level / np.sqrt(np.mean(loud**2)))
    speech = soxr.resample(speech, 8000, 8000 * rng.uniform(0.94, 1.06))
    around = np.zeros(int(8000 * rng.uniform(0, 1.2))), np.zeros(int(8000 * rng.uniform(0.1, 1.0)))
    line = np.concatenate([around[0], speech, around[1]])
    line = line + rng.standard_normal(len(line)) * 10 ** rng.uniform(0, 2.0)
    frame = np.clip(np.round(line), -32768, 32767).astype("<i2").tobytes()
    decoded = np.frombuffer(PCMU.decoder()(PCMU.encoder()(frame)), "<i2")
    return np.repeat(decoded, 2).astype(np.float32) / 32768


def examples(rng: np.random.Generator) -> Iterator[tuple[np.ndarray, list[int]]]:
    """Features and what is to be written."""
    extract = FeatureExtractor(chunk_length=30)

    def features(audio: np.ndarray) -> np.ndarray:
        found, whole = extract(audio)[:, :WINDOW], np.zeros((MELS, WINDOW), np.float32)
        whole[:, : found.shape[1]] = found
        return whole

    begin = [token("startoftranscript")]
    for phrase in PHRASES:
        text = TOKENS.encode(f" {phrase}", add_special_tokens=False).ids
        for voice in VOICES:
            pcm = np.frombuffer(caller(phrase, voice), "<i2").astype(np.float64)
            for _ in range(VARIANTS):
                yield features(heard(pcm, rng)), [*begin, token("notimestamps"), *text, token("endoftext")]
    for _ in range(len(PHRASES) * len(VOICES) * VARIANTS // 10):
        noise = rng.standard_normal(int(16000 * rng.uniform(0.5, 5))) * 10 ** rng.uniform(-5, -2.5)
        yield features(noise.astype(np.float32)), [*begin, token("nospeech"), token("endoftext")]


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.key = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor, other: torch.Tensor, *, causal: bool) -> torch.Tensor:
        def heads(z: torch.Tensor) -> torch.Tensor:
            return z.view(len(x), -1, HEADS, WIDTH // HEADS).transpose(1, 2)

        query, key, value = heads(self.query(x)), heads(self.key(other)), heads(self.value(other))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return self.out(mixed.transpose(1, 2).reshape(x.shape))


class Block(nn.Module):
    def __init__(self, *, crossed: bool) -> None:
        super().__init__()
        self.attn, self.attn_ln = Attention(), nn.LayerNorm(WIDTH)
        self.crossed = crossed
        if crossed:
            self.cross_attn, self.cross_attn_ln = Attention(), nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.mlp_ln = nn.LayerNorm(WIDTH)

    def forward(self, x: torch.Tensor, audio: torch.Tensor | None = None) -> torch.Tensor:
        y = self.attn_ln(x)
        x = x + self.attn(y, y, causal=self.crossed)
        if audio is not None:
            x = x + self.cross_attn(self.cross_attn_ln(x), audio, causal=False)
        return x + self.mlp(self.mlp_ln(x))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Module(), nn.Module()
        self.encoder.conv1 = nn.Conv1d(MELS, WIDTH, 3, padding=1)
        self.encoder.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.encoder.blocks = nn.ModuleList([Block(crossed=False) for _ in range(LAYERS)])
        self.encoder.ln_post = nn.LayerNorm(WIDTH)
        self.decoder.token_embedding = nn.Embedding(TOKENS.get_vocab_size(), WIDTH)
        nn.init.normal_(self.decoder.token_embedding.weight, 0, 0.05)
        self.decoder.positional_embedding = nn.Parameter(torch.randn(448, WIDTH) * 0.01)
        self.decoder.blocks = nn.ModuleList([Block(crossed=True) for _ in range(LAYERS)])
        self.decoder.ln = nn.LayerNorm(WIDTH)
        self.register_buffer("positions", torch.tensor(sinusoids()))

    def forward(self, mels: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        x = functional.gelu(self.encoder.conv1(mels))
        x = functional.gelu(self.encoder.conv2(x)).transpose(1, 2)
        x = x + self.positions[: x.shape[1]]
        for block in self.encoder.blocks:
            x = block(x)
        audio = self.encoder.ln_post(x)
        y = self.decoder.token_embedding(tokens) + self.decoder.positional_embedding[: tokens.shape[1]]
        for block in self.decoder.blocks:
            y = block(y, audio)
        return self.decoder.ln(y) @ self.decoder.token_embedding.weight.T


def sinusoids() -> np.ndarray:
    inverse = np.exp(-np.log(10000) / (WIDTH // 2 - 1) * np.arange(WIDTH // 2))
    angles = np.arange(1500)[:, None] * inverse[None]
    return np.concatenate([np.sin(angles), np.cos(angles)], 1).astype(np.float32)


def train(steps: int) -> Model:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    data, model = list(examples(rng)), Model()
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, max(steps, 40), pct_start=0.1)
    for step in range(steps):
        chosen = [data[number] for number in rng.integers(0, len(data), BATCH)]
        length = max(len(tokens) for _, tokens in chosen)
        tokens = torch.full((BATCH, length), token("endoftext"))
        following = torch.full((BATCH, length), -100)
        for number, (_, row) in enumerate(chosen):
            tokens[number, : len(row)] = torch.tensor(row)
            following[number, : len(row) - 1] = torch.tensor(row[1:])
        mels = torch.tensor(np.stack([features for features, _ in chosen]))
        if rng.random() < 0.15:  # longer windows, up to the 30 s that Whisper fills up to
            mels = functional.pad(mels, (0, int(rng.choice([400, 1200, 2400]))))
        scores = model(mels, tokens).flatten(0, 1)
        loss = functional.cross_entropy(scores, following.flatten(), ignore_index=-100)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 0:
            print(step, f"{loss.item():.3f}", flush=True)
    return model


class _Export:
    """Weights into CTranslate2's form."""

    def __init__(self, model: Model) -> None:
        self.weights = {k: v.detach().numpy().astype(np.float32) for k, v in model.state_dict().items()}

    def linear(self, target: Any, name: str) -> None:
        target.weight, target.bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    def norm(self, target: Any, name: str) -> None:
        target.gamma, target.beta = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    def attention(self, target: Any, name: str, *, crossed: bool) -> None:
        parts = [self.weights[f"{name}.{part}.weight"] for part in ("query", "key", "value")]
        query, value = self.weights[f"{name}.query.bias"], self.weights[f"{name}.value.bias"]
        key = np.zeros(WIDTH, np.float32)
        if crossed:
            target.linear[0].weight, target.linear[0].bias = parts[0], query
            target.linear[1].weight = np.concatenate(parts[1:])
            target.linear[1].bias = np.concatenate([key, value])
        else:
            target.linear[0].weight = np.concatenate(parts)
            target.linear[0].bias = np.concatenate([query, key, value])
        self.linear(target.linear[-1], f"{name}.out")

    def block(self, layer: Any, name: str, *, crossed: bool) -> None:
        self.norm(layer.self_attention.layer_norm, f"{name}.attn_ln")
        self.attention(layer.self_attention, f"{name}.attn", crossed=False)
        if crossed:
            self.norm(layer.attention.layer_norm, f"{name}.cross_attn_ln")
            self.attention(layer.attention, f"{name}.cross_attn", crossed=True)
        self.norm(layer.ffn.layer_norm, f"{name}.mlp_ln")
        self.linear(layer.ffn.linear_0, f"{name}.mlp.0")
        self.linear(layer.ffn.linear_1, f"{name}.mlp.2")


def export(model: Model, folder: Path) -> None:
    """As a folder that faster-whisper loads."""
    weights, spec = _Export(model), whisper_spec.WhisperSpec(LAYERS, HEADS, LAYERS, HEADS)
    encoder, decoder = spec.encoder, spec.decoder
    weights.linear(encoder.conv1, "encoder.conv1")
    weights.linear(encoder.conv2, "encoder.conv2")
    encoder.position_encodings.encodings = sinusoids()
    weights.norm(encoder.layer_norm, "encoder.ln_post")
    embedding = weights.weights["decoder.token_embedding.weight"]
    decoder.embeddings.weight = decoder.projection.weight = embedding
    decoder.position_encodings.encodings = weights.weights["decoder.positional_embedding"]
    weights.norm(decoder.layer_norm, "decoder.ln")
    for side, part in ((encoder, "encoder"), (decoder, "decoder")):
        for number, layer in enumerate(side.layer):
            weights.block(layer, f"{part}.blocks.{number}", crossed=part == "decoder")
    spec.register_vocabulary([text for text, _ in sorted(TOKENS.get_vocab().items(), key=lambda kv: kv[1])])
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = [token("endoftext")]
    spec.config.lang_ids = [token("en")]
    spec.config.alignment_heads = [[LAYERS - 1, head] for head in range(HEADS)]
    spec.validate()
    spec.optimize(quantization="int8")
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    TOKENS.save(str(folder / "tokenizer.json"))
    extractor = {"feature_size": MELS, "sampling_rate": 16000, "hop_length": 160, "chunk_length": 30}
    extractor["n_fft"] = 400
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))


if __name__ == "__main__":
    export(train(int(sys.argv[2]) if len(sys.argv) > 2 else 1500), Path(sys.argv[1]))
