"""What is due at once, on the loop that the server runs on: uvloop's handles of such know no time."""

import asyncio

import uvloop

from media.metronome import Metronome
from sip.rtpmedia import RtpConfig, RtpMedia
from sip.ua.agent import UserAgent
from sip.ua.config import SipConfig


async def refuse(call: object) -> None:
    call.reject(486)  # type: ignore[attr-defined]


def test_a_timer_that_is_overdue_stands_in_no_calls_way() -> None:
    async def scenario() -> None:
        media = RtpMedia(RtpConfig(first_port=0, last_port=0), Metronome())
        agent = UserAgent(SipConfig(host="127.0.0.1", port=0), media)
        await agent.start(refuse)
        try:
            exchange = agent._stack.exchange
            deadline = exchange.layer.deadline
            exchange.layer.deadline = lambda: asyncio.get_running_loop().time() - 1  # type: ignore[method-assign]
            exchange._flush()
            exchange._flush()  # another call has something to say before the timer runs
            exchange.layer.deadline = deadline  # type: ignore[method-assign]
        finally:
            await agent.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
