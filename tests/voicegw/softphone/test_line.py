"""Calls over the page's WebSocket, with real media: what is said, what is survived, who is let in."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import WSServerHandshakeError

from media.leg import HangupCause
from sip.webrtc.config import WebRtcConfig
from tests.sip.webrtc.peer import until
from tests.voicegw.softphone.house import FRIEND, STRANGER, House, house, humming
from voicegw.softphone import mount
from voicegw.softphone.messages import MAX_BYTES


def visit(scenario: Callable[[House], Awaitable[None]], config: WebRtcConfig | None = None) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), house(config) as place:
            await scenario(place)

    asyncio.run(main())


def test_a_call_rings_is_answered_tells_what_happens_and_ends() -> None:
    async def scenario(place: House) -> None:
        peer = humming()
        async with place.page() as page:
            await page.call(peer, "shop")
            assert [m["type"] for m in page.messages] == ["welcome", "ringing", "answer", "media"]
            (sink,) = place.calls.sinks
            await page.say("key", key="5")
            await page.say("key", key="x")
            assert (await page.hear("error"))["code"] == "key"
            await until(lambda: sink.digits == "5" and len(peer.heard) > 20)
            place.calls.happen("partial", text="i would")
            place.calls.happen("note", name="slot", data={"secret": 1})
            place.calls.happen("turn", text="i would like", source="speech", rejected=False, confidence=0.9)
            place.calls.happen("act", kind="say", text="Very well.")
            place.calls.happen("latency", turn_at_ms=1, total_ms=512.0)
            place.calls.happen("heard", text="Very", said="Very well.", complete=False, at_ms=1, ms=2)
            heard = await page.hear("heard")
            assert (heard["text"], heard["said"], heard["complete"]) == ("Very", "Very well.", False)
            kinds = [m["type"] for m in page.messages]
            assert kinds[-5:] == ["partial", "turn", "say", "latency", "heard"], "and no notes"
            assert [m["n"] for m in page.messages] == list(range(1, len(kinds) + 1))
            await page.say("hangup")
            assert (await page.hear("ended"))["cause"] == "normal"
            assert sink.closed is HangupCause.NORMAL and place.calls.flows == ["shop"]
            assert not place.calls.watchers
            again = humming()
            await page.call(again)
            assert place.calls.flows == ["shop", "clinic"], "the line can be used again"
            await again.close()
        await peer.close()

    visit(scenario)


def test_a_lost_socket_loses_neither_call_nor_messages() -> None:
    async def scenario(place: House) -> None:
        peer = humming()
        async with place.page() as page:
            answer = await page.call(peer)
            seen = page.messages[-1]["n"]
        (sink,) = place.calls.sinks
        place.calls.happen("partial", text="while")
        place.calls.happen("act", kind="say", text="you were away")
        frames = len(peer.heard)
        await until(lambda: len(peer.heard) > frames + 20)
        assert sink.closed is None
        async with place.socket() as page:
            await page.say("resume", resume=answer["resume"], seen=seen)
            welcome = await page.hear("welcome")
            assert welcome["calling"]
            assert [m["type"] for m in page.messages] == ["partial", "say", "welcome"]
            assert page.messages[0]["n"] == seen + 1
            async with place.socket() as third:  # takes the line from the second
                await third.say("resume", resume=answer["resume"], seen=welcome["n"])
                await third.hear("welcome")
                with pytest.raises(ConnectionError):
                    await page.hear("nothing")
                assert page.closed == 1000
                await third.say("hangup")
                await third.hear("ended")
        await until(lambda: sink.closed is HangupCause.NORMAL)
        async with place.socket() as late:
            await late.say("resume", resume=answer["resume"], seen=0)
            assert "no such call" in (await late.hear("error"))["message"]
        await peer.close()

    visit(scenario)


def test_ice_is_restarted_by_another_offer_over_the_socket() -> None:
    async def scenario(place: House) -> None:
        peer, other = humming(), humming(1000)
        async with place.page() as page:
            await page.call(peer)
            await page.say("offer", sdp=await other.offer())
            await other.answered((await page.hear("answer"))["sdp"])
            await page.say("candidate", candidate=None)
            await until(lambda: len(other.heard) > 20)
            assert place.calls.sinks[0].closed is None
            await page.say("offer", sdp="v=0")
            assert (await page.hear("error"))["code"] == "offer"
        await peer.close()
        await other.close()

    visit(scenario)


def test_a_call_that_cannot_be_is_said_in_words() -> None:
    async def scenario(place: House) -> None:
        peer = humming()
        async with place.page() as page:
            await page.say("call", sdp="v=0")
            assert "no audio" in (await page.hear("error"))["message"]
            await page.hear("ended")
            await page.say("call", sdp=await peer.offer(), flow="bakery")
            assert (await page.hear("ended"))["status"] == 404
            place.calls.refuse = True
            await page.say("call", sdp=await peer.offer())
            ended = await page.hear("ended")
            assert (ended["cause"], ended["status"], ended["retry_after_s"]) == ("refused", 503, 10)
            await page.say("offer", sdp=await peer.offer())
            assert "no call" in (await page.hear("error"))["message"]
            await page.say("dance")
            assert "dance" in (await page.hear("error"))["message"]
            await page.say("hello", token="x")
            assert "first" in (await page.hear("error"))["message"]
            await page.say("ping")
            await page.hear("pong")
        await peer.close()

    visit(scenario)


def test_more_calls_than_may_be_are_refused_and_counted() -> None:
    async def scenario(place: House) -> None:
        peers = [humming(), humming()]
        async with place.page() as page, place.page() as other:
            await page.call(peers[0])
            await other.say("call", sdp=await peers[1].offer())
            assert "busy" in (await other.hear("ended"))["message"]
            await page.say("hangup")
            await page.hear("ended")
            await other.call(peers[1])
        counters = place.counters
        assert (counters.calls, counters.answered, counters.full, counters.no_media) == (2, 2, 1, 0)
        for peer in peers:
            await peer.close()

    visit(scenario, WebRtcConfig(max_calls=1))


def test_hanging_up_while_it_rings_ends_the_call() -> None:
    async def scenario(place: House) -> None:
        peer = humming()
        async with place.page() as page:
            await page.say("call", sdp=await peer.offer())
            await page.say("call", sdp="v=0")
            assert (await page.hear("error"))["code"] == "busy"
            await page.hear("answer")  # which the peer never gets
            await page.say("hangup")
            await page.hear("ended")
        assert [failure.status for failure in place.calls.failures] == [487]
        await peer.close()

    visit(scenario)


# Who is let in


def test_a_stranger_is_refused_before_a_word_is_said() -> None:
    async def scenario(place: House) -> None:
        for origin in (STRANGER, "", "null", "http://127.0.0.1:1", FRIEND + ".evil.example"):
            with pytest.raises(WSServerHandshakeError) as refused:
                async with place.socket(origin):
                    pass
            assert refused.value.status == 403, origin
        assert place.counters.refused_origin == 5

    visit(scenario)


def test_tokens_are_good_once_and_for_their_own_page_only() -> None:
    async def scenario(place: House) -> None:
        ours = (await place.session())["token"]
        friends = await place.client.get(f"{place.url}embed/session?flow=shop", headers={"Origin": FRIEND})
        session = await friends.json()
        assert session["flows"] == ["shop"] and "sip" not in session
        tries = [  # origin, first message, why it is refused
            (FRIEND, {"type": "hello", "token": ours}, "another page"),
            (None, {"type": "hello", "token": session["token"]}, "another page"),
            (None, {"type": "hello", "token": ours}, "used before"),
            (None, {"type": "hello", "token": ours[:-2] + "zz"}, "not ours"),
            (None, {"type": "hangup"}, "hello or resume"),
            (None, {"type": "resume", "resume": "guess"}, "no such call"),
        ]
        for origin, first, why in tries:
            async with place.socket(origin) as page:
                await page.socket.send_json(first)
                assert why in (await page.hear("error"))["message"]
                with pytest.raises(ConnectionError):
                    await page.hear("welcome")
                assert page.closed == 1008
        again = await place.client.get(f"{place.url}embed/session", headers={"Origin": FRIEND})
        async with place.socket(FRIEND) as page:
            await page.say("hello", token=(await again.json())["token"])
            await page.hear("welcome")

    visit(scenario)


def test_silence_bytes_floods_and_giants_close_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount, "HELLO_S", 0.2)

    async def scenario(place: House) -> None:
        async with place.socket() as page:
            with pytest.raises(ConnectionError):
                await page.hear("welcome")
            assert page.closed == 1008
        async with place.socket() as page:
            await page.socket.send_bytes(b"hello")
            with pytest.raises(ConnectionError):
                await page.hear("welcome")
        async with place.page() as page:
            await page.socket.send_bytes(b"x")
            assert "text" in (await page.hear("error"))["message"]
            for _ in range(mount.MESSAGES_BURST + 50):
                await page.say("ping")
            with pytest.raises(ConnectionError):
                await page.hear("nothing")
            assert page.closed == 1008
        async with place.page() as page:
            await page.say("call", sdp="x" * MAX_BYTES)
            with pytest.raises(ConnectionError):
                await page.hear("nothing")
            assert page.closed == 1009

    visit(scenario)


def test_embedding_pages_are_known_by_their_origin() -> None:
    async def scenario(place: House) -> None:
        for headers in ({"Origin": STRANGER}, {}, {"Origin": "null"}):
            answer = await place.client.get(f"{place.url}embed/session", headers=headers)
            assert answer.status == 403 and "token" not in await answer.text()
        friend = {"Origin": FRIEND}
        answer = await place.client.get(f"{place.url}embed/session", headers=friend)
        assert (await answer.json())["flows"] == ["shop"], "embed_flows"
        assert answer.headers["Access-Control-Allow-Origin"] == FRIEND
        answer = await place.client.get(f"{place.url}embed/session?flow=clinic", headers=friend)
        assert answer.status == 404 and "clinic" in (await answer.json())["error"]

    visit(scenario, WebRtcConfig(origins=(FRIEND,), embed_flows=("shop",)))


def test_browsers_get_ice_servers_with_credentials_that_end() -> None:
    async def scenario(place: House) -> None:
        session = await place.session()
        stun, turn = session["ice_servers"]
        assert stun == {"urls": ["stun:s.example"]}
        assert turn["urls"] == ["turn:t.example?transport=tcp"]
        assert turn["username"].startswith("1700007200:") and len(turn["credential"]) == 28
        assert session["relay_only"] and session["sip"] == "sip:bot@127.0.0.1:5060"
        assert (await place.session())["ice_servers"][1]["username"] != turn["username"]

    turn = ("turn:t.example?transport=tcp",)
    visit(scenario, WebRtcConfig(stun=("stun:s.example",), turn=turn, turn_secret="x", relay_only=True))


def test_one_address_cannot_ask_for_tokens_without_end() -> None:
    async def scenario(place: House) -> None:
        url = f"{place.url}softphone/session"
        statuses = [(await place.client.get(url)).status for _ in range(mount.TOKENS_BURST + 10)]
        assert statuses[: mount.TOKENS_BURST] == [200] * mount.TOKENS_BURST and statuses[-1] == 429

    visit(scenario)


def test_files_are_served_whole_and_asked_for_only_once() -> None:
    async def scenario(place: House) -> None:
        for path, kind in (
            ("softphone/static/ui.js", "text/javascript"),
            ("softphone/static/softphone.css", "text/css"),
            ("embed.js", "text/javascript"),
        ):
            answer = await place.client.get(place.url + path)
            assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
            tag = {"If-None-Match": answer.headers["ETag"]}
            assert (await place.client.get(place.url + path, headers=tag)).status == 304
        for name in ("index.html", "nothing.js", "..%2f..%2fapp.py", "__init__.py"):
            assert (await place.client.get(f"{place.url}softphone/static/{name}")).status == 404
        page = await place.client.get(place.url)
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        text = await page.text()
        assert " style=" not in text and "<style" not in text and " onclick" not in text

    visit(scenario)
