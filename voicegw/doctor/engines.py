"""Engines: each of them loaded and asked once, those that take over and those of other languages too.

One at a time, so that a machine on which a server runs holds no more than one of them besides.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from media.providers import Kind
from voicegw.config import Config
from voicegw.config.model import Engine
from voicegw.doctor.asking import WRONG, Asking, Use
from voicegw.doctor.finding import Finding, bad, good, warning
from voicegw.engines import separately
from voicegw.errors import StartError

LIMIT_S = 120.0  # to be loaded and to answer: a large model from a slow disk
CLOSE_S = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where engines stand in the configuration, and how they are asked."""

    kind: Kind
    engine: Engine
    use: Use
    language: str = ""
    without: str = ""  # what calls do when it fails; empty: they fail too

    @property
    def name(self) -> str:
        """As people say it."""
        return f"{self.kind} for {self.language}" if self.language else self.kind

    @property
    def see(self) -> str:
        """Where to look."""
        section = f"{self.kind}_by_language.{self.language}" if self.language else self.kind
        return f"see {section} in the configuration"


async def engines(config: Config) -> AsyncIterator[Finding]:
    """How each of them does."""
    for place in _places(config):
        if (place.kind, place.engine.engine) == ("eot", "off"):
            yield good("eot: off")
            continue
        tried = [(name, *await _try(make, place.use)) for name, make in _makers(place, config)]
        works = any(error is None for _, _, error in tried)
        for number, (name, result, error) in enumerate(tried, 1):
            among = f" ({number} of {len(tried)})" if len(tried) > 1 else ""
            what = f"{place.name}: {name}{among}"
            yield good(f"{what}, {result}") if error is None else _fault(place, what, error, others=works)


def _places(config: Config) -> Iterator[Place]:
    asking = Asking()
    yield Place("tts", config.tts, asking.speak)
    for code, engine in config.tts_by_language.items():
        yield Place("tts", engine, asking.speak, code)
    yield Place("stt", config.stt, asking.hear("en-US"))
    for code, engine in config.stt_by_language.items():
        yield Place("stt", engine, asking.hear(code), code)
    yield Place("vad", config.vad, asking.detect)
    alone = "silence alone decides when a caller has finished"
    yield Place("eot", config.eot, asking.judge, without=alone)
    if config.denoise is not None:
        yield Place("denoise", config.denoise, asking.suppress)
    if config.llm is not None:
        yield Place("llm", config.llm, asking.answer)


def _makers(place: Place, config: Config) -> list[tuple[str, Callable[[], Any]]]:
    return separately(place.kind, place.engine, config)


def _fault(place: Place, what: str, error: Exception, *, others: bool) -> Finding:
    what = f"{what}: {str(error) or type(error).__name__}"
    if isinstance(error, StartError):
        return bad(what, f"{place.see}; the server does not start with it")
    if others:
        return warning(what, f"{place.see}; calls use another one of the list")
    return warning(what, f"{place.see}; {place.without}") if place.without else bad(what, place.see)


async def _try(make: Callable[[], Any], use: Use) -> tuple[str, Exception | None]:
    """What came of it, or what went wrong."""
    engine: Any = None
    try:
        async with asyncio.timeout(LIMIT_S):
            engine = make()
            return await use(engine), None
    except TimeoutError as error:
        return "", TimeoutError(str(error) or f"no answer within {LIMIT_S:g} s")
    except (StartError, *WRONG) as error:
        return "", error
    finally:
        if hasattr(engine, "close"):
            with suppress(*WRONG):
                async with asyncio.timeout(CLOSE_S):
                    await engine.close()
