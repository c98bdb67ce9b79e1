"""Everybody in one call: the caller, the bot, and whoever else was called in. Core but for the futures.

    caller's leg --> session --> caller .--- room ---. agent    <--> Party <--> his leg
                                 bot ---'            '- supervisor <--> Party <--> his leg

A call has company only while somebody else is in it; else the session talks to its leg directly.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum

from media.frames import AudioFrame
from media.leg import CallLeg, HangupCause
from media.music import Music
from media.observe import CallObserver, CallTap
from media.room import Member, Room

HELD_FRAMES = 10  # a leg that asks for nothing for 200 ms has put us on hold


class Role(StrEnum):
    """Why somebody was called in."""

    AGENT = "agent"  # the caller was handed over to him
    GUEST = "guest"  # one more in a conference
    LISTEN = "listen"  # a supervisor whom nobody hears
    WHISPER = "whisper"  # one whom the agents hear
    BARGE = "barge"  # one whom everybody hears


TALKING = frozenset({Role.AGENT, Role.GUEST, Role.BARGE})  # while one of these is in, the bot rests


class Party:
    """The sink of a leg that was called in."""

    def __init__(self, company: "Company", leg: CallLeg, role: Role, name: str) -> None:
        self.leg, self.role = leg, role
        self._company = company
        self.member: Member = company.room.join(name, leg.format.rate)
        self.closed: asyncio.Future[HangupCause] = asyncio.get_running_loop().create_future()
        self._own: deque[bytes] = deque()  # what this party alone hears, next
        self._told = asyncio.Event()
        self._unasked = 0  # packet times since the leg wanted audio
        self._pts = 0

    @property
    def name(self) -> str:
        """In the timeline, and for the API."""
        return self.member.name

    async def tell(self, pcm: bytes) -> None:
        """Say something to this party alone; returns when it was said."""
        size = self.leg.format.size
        pcm += bytes(-len(pcm) % size)
        self._told.clear()
        self._own.extend(pcm[at : at + size] for at in range(0, len(pcm), size))
        if self._own:
            await self._told.wait()

    # LegSink

    def on_audio(self, frame: AudioFrame) -> None:
        """His next frame."""
        self._unasked += 1
        if self._unasked == HELD_FRAMES:
            self._company.held(self, on=True)
        self.member.put(frame.pcm)

    def on_tick(self) -> None:
        """He hears the next frame."""
        if self._unasked >= HELD_FRAMES:
            self._company.held(self, on=False)
        self._unasked = 0
        others = self.member.take()
        pcm = self._own.popleft() if self._own else others
        if not self._own:
            self._told.set()
        if pcm is not None:
            self.leg.send(AudioFrame(pcm, self.leg.format.rate, self._pts))
            self._pts += len(pcm) // 2

    def on_dtmf(self, digit: str) -> None:
        """He pressed a key."""
        self._company.party_key(self, digit)

    def on_played(self, pts: int) -> None:
        """Nobody counts what he heard."""

    def on_closed(self, cause: HangupCause) -> None:
        """He has left."""
        self._told.set()
        if not self.closed.done():
            self.closed.set_result(cause)


class Company:
    """Of one call. `tap` records what the caller hears."""

    def __init__(
        self, leg: CallLeg, observer: CallObserver, tap: CallTap | None, on_rest: Callable[[bool], None]
    ) -> None:
        """`on_rest` is told when the bot shall rest, and when it may go on."""
        self._leg, self._observer, self._tap, self._on_rest = leg, observer, tap, on_rest
        rate = leg.format.rate
        self.room = Room(rate, self._spoke)
        self.caller, self.bot = self.room.join("caller", rate), self.room.join("bot", rate)
        self.bot.audience = ()
        self._parties: list[Party] = []
        self._music: Music | None = None  # what the caller hears while nobody else says anything
        self._hold_music: Music | None = None
        self._holders: set[str] = set()  # who has put us on hold
        self._bot_says: deque[bytes] = deque()  # while it rests: one frame each packet time
        self._pts = 0
        self._waits: Music | None = None  # for the caller, who is on hold
        self.bot_rests = False
        """A human talks with the caller: the bot neither hears nor speaks."""

    def __iter__(self) -> Iterator[Party]:
        return iter(tuple(self._parties))

    def __len__(self) -> int:
        return len(self._parties)

    @property
    def hears_caller(self) -> bool:
        """Whether the bot does."""
        return not (self.bot_rests or self.caller.muted)

    @property
    def needed(self) -> bool:
        """Somebody is here, or the caller waits for somebody."""
        return bool(self._parties or self._music or self._waits or self.caller.muted)

    # Who is here

    def enter(self, leg: CallLeg, role: Role, name: str, *, apart: bool = False) -> Party:
        """Bring a leg in, and start it. `apart`: he hears nobody, and nobody him, until `admit`."""
        party = Party(self, leg, role, name)
        self._parties.append(party)
        if apart:
            party.member.audience, party.member.deaf = (), True
            leg.start(party)
        else:
            leg.start(party)
            self.admit(party)
        return party

    def admit(self, party: Party) -> None:
        """From now on he takes part, as his role has it."""
        party.member.deaf = False
        self._observer.event("party", name=party.name, state="joined", role=party.role.value)
        self._arrange()

    def leave(self, party: Party, cause: HangupCause) -> None:
        """He has gone."""
        if party in self._parties:
            self._parties.remove(party)
            party.member.leave()
            self._holders.discard(party.name)
            self._observer.event("party", name=party.name, state="left", cause=cause.name.lower())
            self._arrange()

    def change(self, party: Party, role: Role) -> None:
        """A supervisor who listened now whispers, or barges in."""
        party.role = role
        self.admit(party)

    def find(self, name: str) -> Party | None:
        """The party of that name."""
        return next((party for party in self._parties if party.name == name), None)

    def _arrange(self) -> None:
        """Who is heard by whom, and whether the bot rests."""
        agents = [p.name for p in self._parties if p.role in {Role.AGENT, Role.GUEST}]
        for party in self._parties:
            if party.member.deaf:
                continue
            match party.role:
                case Role.LISTEN:
                    party.member.audience = ()
                case Role.WHISPER:
                    party.member.audience = agents
                case _:
                    party.member.audience = None
        rests = self._waits is not None
        rests = rests or any(p.role in TALKING and not p.member.deaf for p in self._parties)
        # While it does not rest, its audio goes to the caller's leg directly: he must not hear it twice.
        self.bot.audience = None if rests else [p.name for p in self._parties]
        if rests != self.bot_rests:
            self.bot_rests = rests
            self._bot_says.clear()
            self._on_rest(rests)

    # What the caller hears meanwhile

    def play(self, music: Music | None) -> None:
        """To the caller, while nobody says anything; None: no more."""
        self._music = music

    def wait(self, music: Music | None) -> None:
        """Put the caller on hold: he hears only this, and nobody hears him. None: take him back."""
        self._waits = music
        self.caller.deaf = music is not None
        self._observer.event("party", name="caller", state="back" if music is None else "hold")
        self._arrange()

    def hold_with(self, music: Music) -> None:
        """What the caller hears while an agent has put him on hold."""
        self._hold_music = music

    def held(self, party: Party, *, on: bool) -> None:
        """A party has put us on hold, or is back."""
        if party.role not in {Role.AGENT, Role.GUEST}:
            return
        (self._holders.add if on else self._holders.discard)(party.name)
        party.member.muted = on
        self._observer.event("party", name=party.name, state="hold" if on else "back")

    # The session's audio plane

    def received(self, pcm: bytes) -> None:
        """The caller's next frame."""
        if self._waits is None:
            self.caller.put(pcm)

    def tick(self, frames: list[AudioFrame], at_ms: float) -> None:
        """The caller's leg wants audio, and the bot has `frames`. While it rests, what it says (a summary) is
        mixed with what the others say; else it goes to the caller as always, and listeners get a copy."""
        if not self.bot_rests:
            for frame in frames:
                self._leg.send(frame)
                self.bot.put(frame.pcm)
            if not frames and (pcm := self._others()) is not None:
                self._send(pcm, at_ms)
            return
        self._bot_says.extend(frame.pcm for frame in frames)
        if self._bot_says:
            self.bot.put(self._bot_says.popleft())
        if (pcm := self._others()) is not None:
            self._send(pcm, at_ms)

    def _others(self) -> bytes | None:
        """What the caller hears now; None: nothing."""
        pcm = self.caller.take()
        if self._waits is not None:
            return self._waits.frame()
        if pcm is None:
            waiting = self._hold_music if self._holders else self._music
            pcm = waiting.frame() if waiting is not None else None
        return pcm

    def _send(self, pcm: bytes, at_ms: float) -> None:
        self._leg.send(AudioFrame(pcm, self.room.rate, self._pts))
        self._pts += len(pcm) // 2
        if self._tap is not None:
            self._tap.played(pcm, at_ms)

    def caller_key(self, digit: str) -> None:
        """The caller pressed a key: for those whom he talks to."""
        self._observer.event("dtmf", digit=digit, direction="received")
        for party in self._parties:
            if party.role in {Role.AGENT, Role.GUEST} and not party.member.deaf:
                party.leg.send_dtmf(digit)

    def party_key(self, party: Party, digit: str) -> None:
        """A party pressed one: for the caller."""
        self._observer.event("dtmf", digit=digit, direction="received", by=party.name)
        if party.role in {Role.AGENT, Role.GUEST} and not party.member.deaf:
            self._leg.send_dtmf(digit)

    def _spoke(self, name: str) -> None:
        self._observer.event("speaker", name=name)
