"""Requests to a carrier: what is repeated, what is not, and what the error says of it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trustme

from sip import carrierrest
from sip.carrierrest import Ask, CarrierError, RestClient, RestConfig

Served = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(serve: Served, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of one that treats its connections like that."""
    made = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with made:
        yield made.sockets[0].getsockname()[1]


async def failure(url: str, *, again: bool = False, timeout_s: float = 5.0) -> tuple[CarrierError, int]:
    """How a request fails, and how often it was repeated."""
    client = RestClient("Acme", RestConfig(timeout_s, tries=2), lambda: "Bearer x")
    try:
        with pytest.raises(CarrierError) as error:
            await client.ask(Ask("POST", url, again=again))
    finally:
        await client.close()
    assert error.value.status == 0
    return error.value, client.stats.retries


def test_what_never_reached_the_carrier_is_repeated() -> None:
    async def scene() -> None:
        error, retries = await failure("http://127.0.0.1:1/calls")
        assert error.undone and retries == 1
        assert "no connection: Connect" in str(error)

    asyncio.run(scene())


def test_a_handshake_that_never_ends_has_not_reached_it_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrierrest, "CONNECT_S", 0.1)
    over = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async def scene() -> None:
        async with server(silent) as port:
            error, retries = await failure(f"https://127.0.0.1:{port}/calls")
            over.set()
        assert error.undone and retries == 1 and "no connection within 0.1 s" in str(error)

    asyncio.run(scene())


def test_a_certificate_that_is_not_trusted_is_an_error_like_others() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def scene() -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
        async with server(silent, tls) as port:
            error, _ = await failure(f"https://127.0.0.1:{port}/calls")
        assert error.undone and "certificate verify failed" in str(error)

    asyncio.run(scene())


@pytest.mark.parametrize("closes, words", [(True, "ServerDisconnected"), (False, "no answer within 0.2 s")])
def test_what_the_carrier_may_have_done_is_repeated_only_where_that_does_no_harm(
    closes: bool, words: str
) -> None:
    async def scene() -> None:
        over = asyncio.Event()

        async def takes_it(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            if not closes:
                await over.wait()
            writer.close()

        async with server(takes_it) as port:
            for again in (False, True):
                error, retries = await failure(f"http://127.0.0.1:{port}/calls", again=again, timeout_s=0.2)
                assert not error.undone and retries == again and words in str(error)
            over.set()

    asyncio.run(scene())
