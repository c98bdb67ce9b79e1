"""Callers who speak to a recogniser: pushes what they say, collects what is understood."""

import asyncio
from collections.abc import Callable

from dialog.turn import Transcript
from dialog.types import Hints
from media.stt.base import SttStream
from tests.callers import caller, frames

START_MS = 240  # a detector reports speech about this long into `caller` audio, whose lead is 300 ms


async def hear(
    stream: SttStream,
    pcm: bytes,
    hints: Hints | None = None,
    *,
    rate: int = 8000,
    frame_s: float = 0.0,
    midway: Callable[[], None] | None = None,
) -> list[Transcript]:
    """One utterance, as fast as it goes or a frame each `frame_s`; all transcripts, the final last."""
    if hints is not None:
        stream.expect(hints)
    heard: list[Transcript] = []

    async def read() -> None:
        async for transcript in stream:
            heard.append(transcript)
            if transcript.final:
                return

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(read())
        packets = list(frames(pcm, rate))
        for n, frame in enumerate(packets):
            if n == START_MS // 20:
                stream.begin()
            stream.push(frame)
            if midway is not None and n == len(packets) // 2:
                midway()
            await asyncio.sleep(frame_s)
        stream.finish()
    return heard


async def hear_text(
    stream: SttStream, text: str, hints: Hints | None = None, voice: str = "slt"
) -> Transcript:
    """What is finally understood when `voice` says `text`."""
    return (await hear(stream, caller(text, voice), hints))[-1]
