"""Models: pulled from a hub on loopback that breaks off, moved by folder, checked, used by name."""

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from media.tts import piper
from tests.models.voice import make_voice
from voicegw.config import load_config
from voicegw.engines import voice as make_engine
from voicegw.models import store as stores
from voicegw.models.catalog import Entry, ModelError, catalog, find
from voicegw.models.pull import pull
from voicegw.models.store import MANIFEST, ModelStore, State

ENTRY = find("piper-en-us-lessac")
LARGE = b"weights" * 50_000


@dataclass
class Hub:
    """Speaks the hub's two paths. `cut`: close the connection after so many bytes, that often."""

    files: dict[str, bytes]
    cuts: int = 0
    wrong: bool = False  # sends other bytes than it described
    status: int = 200
    ranges: list[str] = field(default_factory=list)
    url: str = ""

    async def tree(self, request: web.Request) -> web.Response:
        if self.status != 200:
            return web.Response(status=self.status)
        listed: list[dict[str, Any]] = [{"type": "directory", "path": "en"}]
        for path, data in self.files.items():
            large = {"lfs": {"oid": hashlib.sha256(data).hexdigest()}} if len(data) > 1000 else {}
            listed.append({"type": "file", "path": path, "size": len(data), **large})
        return web.json_response(listed)

    async def file(self, request: web.Request) -> web.StreamResponse:
        data = self.files[request.match_info["path"]]
        self.ranges.append(request.headers.get("Range", ""))
        start = int(self.ranges[-1].removeprefix("bytes=").rstrip("-") or 0)
        body = data[start:].swapcase() if self.wrong else data[start:]
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(body)
        await response.prepare(request)
        if self.cuts and len(data) > 1000:
            self.cuts -= 1
            await response.write(body[:100_000])
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write(body)
        return response


@asynccontextmanager
async def serving(hub: Hub) -> AsyncIterator[Hub]:
    app = web.Application()
    app.router.add_get("/api/models/{who}/{name}/tree/main{folder:.*}", hub.tree)
    app.router.add_get("/{who}/{name}/resolve/main/{path:.*}", hub.file)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield hub
    finally:
        await runner.cleanup()


def voice_files() -> dict[str, bytes]:
    names = [f"{ENTRY.folder}/{name}" for name in ENTRY.files]
    return dict(zip(names, (LARGE, b'{"audio": {}}', b"licence: CC0"), strict=True))


def with_hub(hub: Hub, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with serving(hub):
            await scenario()

    asyncio.run(run())


def quiet(name: str, done: int, size: int) -> None:
    assert 0 <= done <= size


def test_a_pull_goes_on_where_the_connection_broke_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicegw.models.pull.asyncio.sleep", _no_wait)
    store, hub = ModelStore(tmp_path), Hub(voice_files(), cuts=2)

    async def scenario() -> None:
        await pull(store, ENTRY, hub.url, "", quiet)
        assert [r for r in hub.ranges if r] == ["bytes=100000-", "bytes=200000-"]
        before = len(hub.ranges)
        await pull(store, ENTRY, hub.url, "", quiet)
        assert len(hub.ranges) == before, "what is whole is kept"

    with_hub(hub, scenario)
    assert store.model(ENTRY).read_bytes() == LARGE
    assert store.status(ENTRY, lambda count: None).state is State.THERE
    assert store.locate(ENTRY.name) == store.model(ENTRY)


async def _no_wait(_: float) -> None:
    pass


def test_a_pull_that_was_given_up_is_partial_and_the_next_one_finishes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicegw.models.pull.asyncio.sleep", _no_wait)
    monkeypatch.setattr("voicegw.models.pull.TRIES", 1)
    store, hub = ModelStore(tmp_path), Hub(voice_files(), cuts=1)

    async def scenario() -> None:
        with pytest.raises(ModelError, match="pull again to go on"):
            await pull(store, ENTRY, hub.url, "", quiet)
        assert store.status(ENTRY).state is State.PARTIAL and store.locate(ENTRY.name) is None
        await pull(store, ENTRY, hub.url, "", quiet)

    with_hub(hub, scenario)
    assert store.status(ENTRY, lambda count: None).state is State.THERE


def test_what_is_not_what_the_hub_describes_is_refused(tmp_path: Path) -> None:
    store, hub = ModelStore(tmp_path), Hub(voice_files(), wrong=True)

    async def scenario() -> None:
        with pytest.raises(ModelError, match="not what the hub describes"):
            await pull(store, ENTRY, hub.url, "", quiet)

    with_hub(hub, scenario)
    assert store.locate(ENTRY.name) is None


@pytest.mark.parametrize(
    "hub, says",
    [
        (Hub({}, status=404), "HTTP 404"),
        (Hub({f"{ENTRY.folder}/MODEL_CARD": b"x"}), "has no .*lessac-medium.onnx.* any more"),
    ],
)
def test_a_hub_that_has_it_no_more_is_named(tmp_path: Path, hub: Hub, says: str) -> None:
    async def scenario() -> None:
        with pytest.raises(ModelError, match=says):
            await pull(ModelStore(tmp_path), ENTRY, hub.url, "", quiet)

    with_hub(hub, scenario)


def test_no_network_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the hub cannot be reached: http://127.0.0.1:9"):
        asyncio.run(pull(ModelStore(tmp_path), ENTRY, "http://127.0.0.1:9", "", quiet))


def filled(folder: Path, entry: Entry = ENTRY) -> ModelStore:
    store, files = ModelStore(folder), []
    for name in entry.files:
        path = store.prepared(entry, name)
        path.write_bytes(LARGE)
        files.append(stores.ModelFile(name, len(LARGE), stores.sha256(path)))
    store.complete(entry, files)
    return store


def test_models_are_carried_over_by_folder_whole_or_one(tmp_path: Path) -> None:
    source = filled(tmp_path / "stick")
    for folder in (source.folder, source.place(ENTRY)):
        store = ModelStore(tmp_path / folder.name)
        read = 0

        def count(size: int) -> None:
            nonlocal read
            read += size

        assert store.bring(folder, count) == [ENTRY]
        assert read == 3 * len(LARGE) and store.status(ENTRY, lambda _: None).state is State.THERE
    with pytest.raises(ModelError, match="holds no model"):
        store.bring(tmp_path / "nowhere", count)


def test_a_damaged_model_is_neither_taken_over_nor_called_whole(tmp_path: Path) -> None:
    source = filled(tmp_path / "stick")
    (source.place(ENTRY) / ENTRY.files[0]).write_bytes(LARGE[:-1] + b"?")
    with pytest.raises(ModelError, match="its SHA-256 sum differs"):
        ModelStore(tmp_path / "here").bring(source.folder, lambda _: None)
    assert source.status(ENTRY).state is State.THERE, "a look at the sizes does not see it"
    assert source.status(ENTRY, lambda _: None).state is State.DAMAGED
    (source.place(ENTRY) / ENTRY.files[1]).unlink()
    assert source.status(ENTRY).problem.endswith("is missing")


def test_a_manifest_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    source = filled(tmp_path / "stick")
    manifest = source.place(ENTRY) / MANIFEST
    manifest.write_text(manifest.read_text().replace(ENTRY.files[0], "../../evil"))
    with pytest.raises(ModelError, match="leads out"):
        ModelStore(tmp_path / "here").bring(source.folder, lambda _: None)
    assert not (tmp_path / "evil").exists()


def test_an_engine_finds_its_model_by_name(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "data" / "models")
    model = store.prepared(ENTRY, ENTRY.model)
    make_voice(model)
    paths = (model, Path(f"{model}.json"))
    store.complete(ENTRY, [stores.ModelFile(p.name, p.stat().st_size, stores.sha256(p)) for p in paths])
    file = tmp_path / "voicegw.yaml"
    file.write_text(f"data_dir: {tmp_path / 'data'}\ntts: {{engine: piper, model: {ENTRY.name}}}\n")
    assert isinstance(make_engine(load_config(file)), piper.PiperTts)


def test_the_catalogue_is_sound() -> None:
    for entry in catalog().values():
        assert entry.kind in {"stt", "tts", "llm"} and entry.licence and entry.mb > 0
        assert not entry.model or entry.model in entry.files
    with pytest.raises(ModelError, match="did you mean whisper-base"):
        find("whisper-bas")


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    code = "from voicegw.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "models", *arguments], capture_output=True, text=True, check=False
    )


def test_the_command_lists_checks_and_names_mistakes(tmp_path: Path) -> None:
    store = filled(tmp_path)
    listed = command("list", "--folder", str(tmp_path))
    assert listed.returncode == 0 and "Apache-2.0" in listed.stdout and " there" in listed.stdout
    whole = command("status", "--folder", str(tmp_path))
    assert whole.returncode == 0 and str(store.model(ENTRY)) in whole.stdout
    (store.place(ENTRY) / ENTRY.files[0]).write_bytes(LARGE[:-1] + b"?")
    broken = command("status", "--folder", str(tmp_path))
    assert broken.returncode == 1 and "its SHA-256 sum differs" in broken.stdout
    unknown = command("pull", "wisper-base", "--folder", str(tmp_path))
    assert unknown.returncode == 1 and "did you mean whisper-base" in unknown.stderr
    other = replace(ENTRY, name="x")
    assert store.status(other).state is State.ABSENT and json.loads(
        (store.place(ENTRY) / MANIFEST).read_text()
    )
