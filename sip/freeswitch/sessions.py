"""One session a channel: FreeSWITCH may bring a channel while we still have it in hand.

    we hang -> FreeSWITCH gives us up, its dialplan asks again -> we wake with both connections in front of us
            '- or only the audio of a call ended meanwhile     -> the dialplan asks again, the old leg is up

The newest connection is the one that FreeSWITCH waits on, so it wins. The older session ends at once, touches
the channel no more, and keeps its socket until FreeSWITCH closes it: leaving one socket of a channel ends the
`socket` application that runs on it, whichever connection that has.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from sip.esl.errors import EslError
from sip.esl.server import EslSession
from sip.freeswitch.calls import FreeswitchCalls


class ChannelSessions:
    """Of one edge."""

    def __init__(self, calls: FreeswitchCalls) -> None:
        self._calls = calls
        self._newest: dict[str, EslSession] = {}  # by channel

    @contextmanager
    def newest(self, session: EslSession) -> Iterator[bool]:
        """Inside the block the channel is this session's, until a newer one comes; an older one is over.
        False: a newer one was here first, and this one is over."""
        uuid = session.channel.uuid
        known = self._newest.get(uuid)
        if known is not None and known.number > session.number:
            self._over(session)
            yield False
            return
        self._newest[uuid] = session
        if known is not None:
            self._over(known)
        try:
            yield True
        finally:
            if self._newest.get(uuid) is session:
                del self._newest[uuid]

    def _over(self, session: EslSession) -> None:
        if session.channel.is_up:
            self._calls.supersede(session.channel)


async def until_closed(session: EslSession) -> None:
    """Keep the socket until FreeSWITCH closes it: at once at the hang-up, there is nothing to linger for."""
    try:
        await session.link.demand("nolinger")
    except EslError:
        pass  # closed already, or in 10 s more
    await asyncio.wait({session.link.closed})
