"""GET /ai/models/status: the models that are here, that could be pulled, and that the engines use."""

import asyncio
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from voicegw.config import Config
from voicegw.models.store import ModelStore


class ModelsApi:
    """A part of the web server (voicegw/mount.py)."""

    public: tuple[str, ...] = ()

    def __init__(self, config: Config) -> None:
        self._store, self._used = ModelStore(config.models_folder), used_models(config)

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What is answered."""
        return [web.get("/ai/models/status", self._status)]

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response({"models": await asyncio.to_thread(self._models), "used": self._used})

    def _models(self) -> list[dict[str, Any]]:
        return [
            {
                "name": found.entry.name,
                "kind": found.entry.kind,
                "engine": found.entry.engine,
                "licence": found.entry.licence,
                "state": found.state.value,
                "bytes": found.size,
            }
            for found in self._store.all()
        ]


def used_models(config: Config) -> list[dict[str, str]]:
    """What the engines are configured with, in order of preference."""
    kinds = (("stt", config.stt), ("tts", config.tts), ("llm", config.llm))
    return [
        {"kind": kind, "engine": one.engine, "model": str(getattr(one.options, "model", ""))}
        for kind, engine in kinds
        for one in (() if engine is None else (engine, *engine.others))
    ]
