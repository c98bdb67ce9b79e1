"""The driver of recognisers behind a WebSocket, on a virtual clock."""

import asyncio
from typing import Any

from dialog.types import Domain
from media.frames import AudioFormat, AudioFrame
from media.stt import deepgram
from media.stt.socket import SocketEars
from tests import clock


class Gone:
    """A connection whose network has gone: nothing is said, and what is sent waits."""

    close_code = None

    async def send_str(self, data: str) -> None:
        await asyncio.Event().wait()

    send_bytes = send_str

    def __aiter__(self) -> "Gone":
        return self

    async def __anext__(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


class Session:
    def __init__(self) -> None:
        self.connections = 0

    async def ws_connect(self, url: str, **options: Any) -> Gone:
        self.connections += 1
        return Gone()

    async def close(self) -> None:
        pass


def test_a_connection_that_takes_nothing_is_made_anew() -> None:
    async def main() -> int:
        engine, session = deepgram.create(deepgram.Config(api_key="k")), Session()
        assert isinstance(engine, SocketEars)
        engine._session = session  # type: ignore[assignment]
        async with engine.stream(AudioFormat(), Domain("test")) as stream:
            stream.begin()
            for n in range(250):
                stream.push(AudioFrame(bytes(320), 8000, 160 * n))
                await asyncio.sleep(0.02)
        await engine.close()
        return session.connections

    assert clock.run(main()) == 2
