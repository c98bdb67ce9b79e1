"""The web side, asked by a real HTTP client over the loopback interface."""

import asyncio
import base64
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, web

from media.leg import CallInfo
from voicegw.config.model import HttpConfig
from voicegw.health import Health
from voicegw.livecalls import LiveCall, LiveCalls
from voicegw.metrics import Metrics
from voicegw.mount import Mount
from voicegw.server import HttpServer, WebParts
from voicegw.storage.engine import StorageError

EVIL = "<script>alert('x')</script>"

CALL: dict[str, Any] = {
    "id": "c1",
    "direction": "inbound",
    "from": EVIL,
    "to": "bot",
    "state": "ended",
    "cause": "normal",
    "started_at": "2026-01-02T03:04:05.000Z",
    "answered_at": "2026-01-02T03:04:05.100Z",
    "ended_at": None,
    "recording": "/api/calls/c1/recording",
    "timeline": "/api/calls/c1/timeline",
}
TURNS = [
    {"role": "bot", "text": "Hello, how are you?", "at_ms": 0, "heard": "Hello,", "latency_ms": {}},
    {"role": "caller", "text": EVIL, "at_ms": 1500, "heard": EVIL, "latency_ms": {}},
    {"role": "bot", "text": "Good.", "at_ms": 2500, "heard": "Good.", "latency_ms": {"total": 640.0}},
]


class FakeArchive:
    """One call, kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.broken = False

    async def recent(self, limit: int) -> list[dict[str, Any]]:
        if self.broken:
            raise StorageError("the disk is gone")
        return [CALL][:limit]

    async def find(self, call_id: str) -> dict[str, Any] | None:
        return {**CALL, "turns": TURNS} if call_id == "c1" else None

    async def file(self, call_id: str, kind: str) -> Path | None:
        path = self._folder / kind
        return path if call_id == "c1" and path.exists() else None


class House:
    """A server, and what it tells about."""

    def __init__(self, folder: Path, token: str = "", mounts: Sequence[Mount] = ()) -> None:
        self.draining = False
        self.live, self.metrics, self.archive = LiveCalls(), Metrics(), FakeArchive(folder)
        self.health = Health(lambda: len(self.live), lambda: self.draining)
        self.health.complete = True
        parts = WebParts(self.health, self.metrics, self.live, self.archive, lambda: "sip:bot@127.0.0.1:5060")  # type: ignore[arg-type]
        self.server = HttpServer(HttpConfig(port=0, token=token), parts, mounts)


Get = Callable[..., Awaitable[ClientResponse]]


class Doorbell:
    """A mount: one path that answers strangers, one that does not."""

    public = ("/ring/",)

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.get("/ring/{who}", self._ring), web.get("/ringers", self._ring)]

    async def _ring(self, request: web.Request) -> web.Response:
        return web.Response(text=f"{request.path} rings")


def visit(
    tmp_path: Path,
    scenario: Callable[[House, Get], Awaitable[None]],
    token: str = "",
    mounts: Sequence[Mount] = (),
) -> None:
    async def run() -> None:
        house = House(tmp_path, token, mounts)
        await house.server.start()
        try:
            async with ClientSession(house.server.url) as client:
                await scenario(house, client.get)
        finally:
            await house.server.close()

    asyncio.run(run())


def test_health_says_whether_calls_may_come(tmp_path: Path) -> None:
    faults: dict[str, str | None] = {"stt": None, "disk": None}

    async def scenario(house: House, get: Get) -> None:
        house.health.add("stt", lambda: faults["stt"])
        house.health.add("disk", lambda: faults["disk"], vital=False)
        for path in ("/health", "/health/ready", "/health/live", "/healthz"):
            answer = await get(path)
            report = await answer.json()
            assert answer.status == 200 and report["status"] == "ok", path
            assert set(report) == {"status", "uptime_s", "calls", "version", "checks"}

        faults["disk"] = "full"
        answer = await get("/health")
        report = await answer.json()
        assert (answer.status, report["status"], report["checks"]["disk"]) == (200, "degraded", "full")

        faults["stt"] = "no worker"
        answer = await get("/health/ready")
        assert (answer.status, (await answer.json())["status"]) == (503, "failing")
        assert (await get("/health/live")).status == 200, "a restart would not help"

        faults["stt"], house.draining = None, True
        answer = await get("/health/ready")
        assert (answer.status, (await answer.json())["status"]) == (503, "draining")

    visit(tmp_path, scenario)


def test_not_ready_before_everything_is_started(tmp_path: Path) -> None:
    async def scenario(house: House, get: Get) -> None:
        house.health.complete = False
        answer = await get("/health")
        assert (answer.status, (await answer.json())["status"]) == (503, "starting")

    visit(tmp_path, scenario)


def test_metrics(tmp_path: Path) -> None:
    async def scenario(house: House, get: Get) -> None:
        answer = await get("/metrics")
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert "voicegw_calls_active" in await answer.text()

    visit(tmp_path, scenario)


def test_calls_as_json(tmp_path: Path) -> None:
    (tmp_path / "recording").write_bytes(b"RIFF" + bytes(1000))
    (tmp_path / "timeline").write_text('{"t": 0}\n')

    async def scenario(house: House, get: Get) -> None:
        assert await (await get("/api/calls")).json() == {"calls": [CALL]}
        assert (await (await get("/api/calls/c1")).json())["turns"] == TURNS
        recording = await get("/api/calls/c1/recording", headers={"Range": "bytes=0-3"})
        assert (recording.status, await recording.read()) == (206, b"RIFF"), "a player may jump"
        assert recording.headers["Content-Type"] == "audio/wav"
        assert await (await get("/api/calls/c1/timeline")).text() == '{"t": 0}\n'
        for path in ("/api/calls/c2", "/api/calls/c2/recording", "/api/calls/c2/timeline", "/calls/c2", "/x"):
            assert (await get(path)).status == 404, path
        for limit in ("0", "-1", "x", "1001", "1.5", "9" * 5000):
            assert (await get("/api/calls", params={"limit": limit})).status == 400, limit
        assert (await get(f"{house.server.url}/health")).status == 200, "one slash too many"

    visit(tmp_path, scenario)


def test_a_call_without_files(tmp_path: Path) -> None:
    async def scenario(house: House, get: Get) -> None:
        assert (await get("/api/calls/c1/recording")).status == 404
        assert (await get("/api/calls/c1/timeline")).status == 404

    visit(tmp_path, scenario)


def test_a_broken_database_is_said_and_health_still_answers(tmp_path: Path) -> None:
    async def scenario(house: House, get: Get) -> None:
        house.archive.broken = True
        assert (await get("/api/calls")).status == 503
        assert (await get("/calls")).status == 503
        assert (await get("/health")).status == 200

    visit(tmp_path, scenario)


# Who may read


async def raw(house: House, path: str, headers: bytes) -> bytes:
    """The status line of the answer to a request that no honest client makes."""
    port = int(house.server.url.rstrip("/").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + headers + b"\r\n")
    line = await reader.readline()
    writer.close()
    return line


@pytest.mark.parametrize(
    "path", ["/calls", "/calls/c1", "/api/calls", "/api/calls/c1", "/api/calls/c1/recording"]
)
def test_calls_are_for_this_machine_or_for_the_token(tmp_path: Path, path: str) -> None:
    (tmp_path / "recording").write_bytes(b"RIFF")
    elsewhere = {"X-Forwarded-For": "203.0.113.9"}

    async def closed(house: House, get: Get) -> None:
        assert (await get(path)).status == 200
        assert (await get(path, headers=elsewhere)).status == 403
        assert (await get(path, headers={**elsewhere, "Authorization": "Bearer "})).status == 403
        assert (await get(path, headers={"Host": "evil.example"})).status == 403, "DNS rebinding"

    async def by_token(house: House, get: Get) -> None:
        assert (await get(path)).status == 200
        refused = await get(path, headers=elsewhere)
        assert refused.status == 401 and refused.headers["WWW-Authenticate"].startswith("Basic")
        for wrong in ("Bearer wrong", "Basic !!!", "Basic d3Jvbmc=", "Digest x", "Bearer"):
            assert (await get(path, headers={**elsewhere, "Authorization": wrong})).status == 401, wrong
        status_line = await raw(house, path, b"Authorization: Bearer \xff\xfe\r\nX-Real-IP: 203.0.113.9\r\n")
        assert b" 401 " in status_line, "bytes that are no UTF-8"
        right = {**elsewhere, "Authorization": "Bearer geheimß"}
        assert (await get(path, headers=right)).status == 200
        browser = "Basic " + base64.b64encode(b"me:" + "geheimß".encode()).decode()
        assert (await get(path, headers={**elsewhere, "Authorization": browser})).status == 200

    visit(tmp_path, closed)
    visit(tmp_path, by_token, token="geheimß")


def test_health_and_metrics_are_public(tmp_path: Path) -> None:
    async def scenario(house: House, get: Get) -> None:
        for path in ("/health", "/health/live", "/health/ready", "/healthz", "/metrics"):
            assert (await get(path, headers={"X-Forwarded-For": "203.0.113.9"})).status == 200

    visit(tmp_path, scenario)


# Pages


class Outline(HTMLParser):
    """Tags that are opened and closed as they should be, and what a screen reader needs."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_pages_are_whole_escaped_and_accessible(tmp_path: Path) -> None:
    async def scenario(house: House, get: Get) -> None:
        task = asyncio.current_task()
        assert task is not None
        info = CallInfo("live", EVIL, "bot", "sip")
        house.live.add(LiveCall(info, "clinic", task, 0.0, state="answered"))
        for path in ("/calls", "/calls/c1"):
            answer = await get(path)
            text = await answer.text()
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert EVIL not in text and "&lt;script&gt;alert" in text
            outline = Outline(text)
            assert not outline.open
            tags = [tag for tag, _ in outline.tags]
            assert tags.count("h1") == 1 and "main" in tags
            assert ("html", {"lang": "en"}) in outline.tags
            ids = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
            assert len(ids) == len(set(ids))
            assert all("scope" in attrs for tag, attrs in outline.tags if tag == "th")
        index = await (await get("/calls")).text()
        assert "sip:bot@127.0.0.1:5060" in index and "voicegw call" in index and "1 call in progress" in index
        call = await (await get("/calls/c1")).text()
        assert "heard only: Hello," in call and "answered after 640 ms" in call

    visit(tmp_path, scenario)


def test_every_answer_has_security_headers_and_the_page_needs_nothing_else(tmp_path: Path) -> None:
    async def scenario(house: House, get: Get) -> None:
        for path in ("/calls", "/health", "/nothing", "/api/calls"):
            headers = (await get(path)).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert "default-src 'none'" in headers["Content-Security-Policy"]
        text = await (await get("/calls")).text()
        assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", text), "nothing from elsewhere"
        assert " style=" not in text and " onclick=" not in text, "inline attributes would be blocked"

    visit(tmp_path, scenario)


def test_a_policy_hash_is_of_what_is_sent(tmp_path: Path) -> None:
    async def scenario(house: House, get: Get) -> None:
        answer = await get("/calls")
        text, policy = await answer.text(), answer.headers["Content-Security-Policy"]
        for tag in ("style", "script"):
            (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy

    visit(tmp_path, scenario)


def test_the_first_page_is_the_list_of_calls_where_there_is_no_softphone(tmp_path: Path) -> None:
    async def scenario(_: House, get: Get) -> None:
        answer = await get("/")
        assert (answer.status, answer.url.path) == (200, "/calls")

    visit(tmp_path, scenario)


def test_a_taken_port_is_an_os_error(tmp_path: Path) -> None:
    async def run() -> None:
        house = House(tmp_path)
        await house.server.start()
        port = int(house.server.url.rstrip("/").rpartition(":")[2])
        other = HttpServer(HttpConfig(port=port), house.server._parts)
        with pytest.raises(OSError):
            await other.start()
        await house.server.close()

    asyncio.run(run())


def test_mounts_answer_strangers_on_public_paths_only(tmp_path: Path) -> None:
    async def scenario(_: House, get: Get) -> None:
        stranger = {"X-Forwarded-For": "203.0.113.9"}
        for path, status in (("/ring/anna", 200), ("/ringers", 403), ("/api/calls", 403)):
            answer = await get(path, headers=stranger)
            assert answer.status == status, path
        answer = await get("/ringers")
        assert await answer.text() == "/ringers rings"
        assert answer.headers["X-Frame-Options"] == "DENY"

    visit(tmp_path, scenario, mounts=[Doorbell()])
