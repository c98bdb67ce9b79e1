"""Engines as the configuration names them: made, put in order, warmed up."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from dialog.agent.engine import AgentParts, tool_specs
from dialog.agent.spec import AgentSpec
from dialog.agent.toolbox import Toolbox
from dialog.errors import DialogError
from dialog.llm.base import LanguageModel, LlmError, LlmRequest, Message, Role
from dialog.llm.fallback import FallbackModel
from media.eot.base import EndOfTurn
from media.errors import ProviderError
from media.fallback.ears import FallbackEars
from media.fallback.voice import FallbackVoice
from media.providers import Kind, load
from media.stt.base import SpeechToText
from media.stt.polyglot import PolyglotEars
from media.tts.base import Multilingual, TextToSpeech
from voicegw import clock
from voicegw.config import Config
from voicegw.config.model import Engine
from voicegw.errors import StartError
from voicegw.models.store import ModelStore

log = logging.getLogger(__name__)


def maker(kind: Kind, engine: Engine, models: ModelStore | None = None) -> Callable[[], Any]:
    """What makes the engine. Its errors name it. `models` finds those that it names by name."""
    provider = load(kind, engine.engine)
    options = engine.options if models is None else located(engine.options, models)

    def make() -> Any:
        try:
            return provider.create(options)
        except (ProviderError, DialogError) as error:
            raise StartError(f"{kind} engine {engine.engine!r}: {error}") from error

    return make


def models_of(config: Config) -> ModelStore:
    """The models that engines name by name."""
    return ModelStore(config.models_folder)


def located(options: Any, models: ModelStore) -> Any:
    """The options, with `model` as a path where it is the name of a model that has been pulled."""
    name = getattr(options, "model", None)
    found = models.locate(name) if isinstance(name, str) else None
    return options if found is None else replace(options, model=str(found))


Wrap = Callable[[Engine, TextToSpeech], TextToSpeech]
"""What is put around each voice."""


def _bare(engine: Engine, voice: TextToSpeech) -> TextToSpeech:
    return voice


def voice(config: Config, wrap: Wrap = _bare) -> TextToSpeech:
    """The voice, or several in order. Raises StartError."""
    engines = (config.tts, *config.tts.others)
    found = zip(engines, _all("tts", config.tts, config), strict=True)
    made = [(name, wrap(engine, bare)) for engine, (name, bare) in found]
    return made[0][1] if len(made) == 1 else FallbackVoice(made, config.fallback.tts)


def ears(config: Config) -> SpeechToText:
    """The recogniser, or several in order. Raises StartError."""
    made = _all("stt", config.stt, config)
    return made[0][1] if len(made) == 1 else FallbackEars(made, config.fallback.stt)


def end_of_turn(config: Config) -> EndOfTurn:
    """The estimate of the end of turns. Raises StartError."""
    made: EndOfTurn = _all("eot", config.eot, config)[0][1]
    return made


def polyglot_ears(config: Config, main: SpeechToText) -> SpeechToText:
    """The recogniser, and those for languages that it does not hear. Raises StartError."""
    others = {code: _all("stt", engine, config)[0][1] for code, engine in config.stt_by_language.items()}
    return PolyglotEars(main, others)


def voices(
    config: Config, main: TextToSpeech, languages: Iterable[str], wrap: Wrap = _bare
) -> dict[str, TextToSpeech]:
    """A voice for each language. Raises StartError where there is none."""
    made: dict[str, TextToSpeech] = {}
    for code in languages:
        engine = config.tts_by_language.get(code)
        if engine is not None:
            made[code] = wrap(engine, _all("tts", engine, config)[0][1])
        elif isinstance(main, Multilingual):
            try:
                made[code] = main.in_language(code)
            except ProviderError as error:
                raise StartError(f"no voice for language {code!r}: {error}; {_name_one(code)}") from error
        else:
            why = f"tts engine {config.tts.engine!r} has one voice"
            raise StartError(f"no voice for language {code!r}: {why}; {_name_one(code)}")
    return made


def _name_one(code: str) -> str:
    return f"name one by tts_by_language.{code}"


def separately(kind: Kind, engine: Engine, config: Config) -> list[tuple[str, Callable[[], Any]]]:
    """The engine and those that take over: the name of each, two of one name told apart by their place, and
    what makes it."""
    models = models_of(config)
    engines = (engine, *engine.others)
    names = [one.engine for one in engines]
    return [
        (name if names.count(name) == 1 else f"{name}#{place + 1}", maker(kind, one, models))
        for place, (name, one) in enumerate(zip(names, engines, strict=True))
    ]


def _all(kind: Kind, engine: Engine, config: Config) -> list[tuple[str, Any]]:
    """The same, made."""
    return [(name, make()) for name, make in separately(kind, engine, config)]


def language_model(config: Config) -> LanguageModel | None:
    """The language model, or several in order; None if none is configured. Raises StartError."""
    engine = config.llm
    if engine is None:
        return None
    models: list[LanguageModel] = [made for _, made in _all("llm", engine, config)]
    return models[0] if len(models) == 1 else FallbackModel(models, config.fallback.llm)


async def warm_up(parts: AgentParts, agents: Iterable[AgentSpec], config: Config) -> None:
    """Let the model read what the agents' conversations begin with. A model that is down now may be up when
    somebody calls: said, not fatal. One that can never work raises StartError."""
    for agent in agents:
        instructions = agent.instructions.render(agent.variables, clock.local(config.timezone))
        request = LlmRequest([Message(Role.SYSTEM, instructions)], tools=tool_specs(agent))
        try:
            await parts.model.prepare(request)
        except LlmError as error:
            if not error.retryable:
                raise StartError(f"llm {parts.model.name!r} for agent {agent.name!r}: {error}") from error
            log.warning("language model is not ready", extra={"agent": agent.name, "error": str(error)})


def agent_parts(config: Config) -> AgentParts | None:
    """What agents work with; None without a language model. Whoever gets it closes both parts."""
    model = language_model(config)
    return None if model is None else AgentParts(model, Toolbox())
