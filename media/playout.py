"""Playout: what is sent to the caller, and how much of it he has heard.

Speech is written in faster than real time and taken out one frame per packet time. The far end is
modelled as a loudspeaker that plays what it was sent, in order, in real time and `delay` seconds
late. A leg whose far end confirms playback (Twilio marks) measures that delay through `confirm`;
confirmations never slow the sending. Sans-I/O: the caller passes the time in, in seconds.

    begin -> piece, write, write, piece, write ... -> end      one utterance: a reply of the bot
    due   -> frames for the wire                               each packet time
    pause, resume -> silence, and on from the word where it stopped
    played, finished, cut -> what reached the ear
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from media.frames import AudioFormat, AudioFrame

REWIND_MS = 2_000  # speech kept to go on from the beginning of a word: the longest words take one second
REWIND_BLIND_MS = 300  # how far to go back where the voice gives no word marks
CHARS_PER_SECOND = 15  # pace of speech, used while a piece's audio is still arriving


@dataclass(frozen=True, slots=True)
class Heard:
    """The part of one utterance that reached the caller's ear."""

    utterance: int
    text: str
    said: str  # all of what was to be heard, as far as it was written
    ms: int
    complete: bool
    began_at: float  # when its first sample was heard, in the caller's clock


@dataclass(slots=True)
class _Piece:
    """A stretch of audio and the words it speaks."""

    utterance: int
    text: str
    start: int  # pts of the first sample
    end: int
    whole: bool = False  # all of its audio has been written
    words: list[tuple[int, int]] = field(default_factory=list)  # pts at which text[chars:] begins, chars

    def heard(self, position: int, rate: int) -> str:
        """The words spoken before `position`: by the engine's word marks, else at an even pace."""
        if self.whole and position >= self.end:
            return self.text
        if position <= self.start:
            return ""
        if self.words:
            begun = [chars for pts, chars in self.words if pts <= position]
            return self.text[: begun[-1]] if begun else ""  # the word in progress does not count
        samples = position - self.start
        if self.whole:
            chars = len(self.text) * samples // (self.end - self.start)
        else:
            chars = min(len(self.text), samples * CHARS_PER_SECOND // rate)
        return self.text[: self.text.rfind(" ", 0, chars + 1) + 1]

    def word_at(self, position: int, rate: int) -> int:
        """Where the word that is spoken at `position` begins."""
        begun = [pts for pts, _ in self.words if pts <= position]
        return max(begun, default=max(self.start, position - REWIND_BLIND_MS * rate // 1000))


class Playout:
    """The bot's voice on its way to one caller."""

    def __init__(self, format: AudioFormat, lead_ms: int = 0) -> None:
        self.format = format
        # One frame more than the lead: a tick that comes early must not cost a frame.
        self._ahead = lead_ms * format.rate // 1000 + format.samples
        self._buffer = bytearray()
        self._pieces: deque[_Piece] = deque()
        self._unheard: deque[tuple[bytes, float]] = deque()  # sent; when it is played, without delay
        self._past = bytearray()  # the last that was sent, up to `_sent`
        self._keep = 2 * format.rate * (lead_ms + REWIND_MS) // 1000  # bytes of it
        self._paused = False
        self._stopped_at = 0  # pts: how far the caller had heard when paused
        self._current = 0  # number of the utterance that may write
        self._ended = 0  # number of the last utterance that is whole
        self._sent = 0  # pts
        self._run: tuple[int, float] = (0, 0.0)  # pts and time of the current run's first sample
        self._began: dict[int, float] = {}  # utterance -> when its first frame was sent
        self._confirmed = 0  # pts
        self._confirms = False  # the far end does so
        self.delay = 0.0  # seconds from sending to hearing, one way

    @property
    def busy(self) -> bool:
        """Whether the caller has yet to hear something."""
        return bool(self._pieces)

    def left_ms(self, now: float) -> int:
        """Speech that has been written but not heard."""
        return (self._written - self.heard_pts(now)) * 1000 // self.format.rate

    @property
    def unconfirmed_ms(self) -> int:
        """Speech that was sent and is not confirmed as played; 0 where the far end never confirms."""
        return (self._sent - self._confirmed) * 1000 // self.format.rate if self._confirms else 0

    # Writing speech

    def begin(self) -> int:
        """Open an utterance and return its number. The one before may no longer write."""
        self._current += 1
        self._paused = False
        return self._current

    def piece(self, utterance: int, text: str) -> None:
        """Announce the words that the next writes speak."""
        if utterance == self._current:
            self._close_piece()
            self._pieces.append(_Piece(utterance, text, self._written, self._written))

    def write(self, utterance: int, pcm: bytes, words: Sequence[tuple[int, int]] = ()) -> None:
        """Append speech; audio of an utterance that was cut is dropped.

        `words` are (characters of the piece's text before the word, samples of the piece before it).
        """
        if utterance != self._current or not self._pieces:
            return
        piece = self._pieces[-1]
        piece.words += ((piece.start + sample, chars) for chars, sample in words)
        self._buffer += pcm
        piece.end = self._written

    def pad(self, utterance: int) -> None:
        """Fill up to a whole frame: somebody waits until all that was written is heard."""
        if utterance == self._current:
            self._buffer += bytes(-len(self._buffer) % self.format.size)

    def end(self, utterance: int) -> None:
        """Pad to a whole frame and mark the utterance complete."""
        if utterance == self._current:
            self.pad(utterance)
            self._close_piece()
            self._ended = utterance

    def _close_piece(self) -> None:
        if self._pieces:
            self._pieces[-1].end, self._pieces[-1].whole = self._written, True

    # Sending

    def due(self, now: float) -> list[AudioFrame]:
        """Frames to send now: enough to keep `lead_ms` ahead of real time."""
        size = self.format.size
        if len(self._buffer) < size or self._paused:
            return []
        if self._played(now) >= self._sent:
            self._run = (self._sent, now)  # the far end has run dry: a new run starts
        frames = []
        start, at = self._run
        while len(self._buffer) >= size and self._sent - self._played(now) < self._ahead:
            pcm = bytes(self._buffer[:size])
            frames.append(AudioFrame(pcm, self.format.rate, self._sent))
            self._unheard.append((pcm, at + (self._sent - start) / self.format.rate))
            del self._buffer[:size]
            self._past += pcm
            self._sent += size // 2
        if len(self._past) > 2 * self._keep:  # seldom
            del self._past[: len(self._past) - self._keep]
        if frames and self._pieces:
            self._began.setdefault(self._utterance_at(frames[0].pts), now)
        return frames

    def confirm(self, pts: int, now: float) -> None:
        """The far end reports that it has played everything before `pts`."""
        self._confirms = True
        start, at = self._run
        if start < pts <= self._sent:
            round_trip = now - at - (pts - start) / self.format.rate
            self.delay = max(0.0, round_trip / 2)
            self._confirmed = pts

    @property
    def paused(self) -> bool:
        """Whether `resume` is awaited."""
        return self._paused

    def pause(self, now: float) -> None:
        """Send nothing more, and take back what the far end has not played, from the beginning of the word
        that it is at. The far end must be told to forget its buffer."""
        position = self._stopped_at = self._played(now)
        self._paused = True
        piece = next((p for p in self._pieces if p.start <= position < p.end), None)
        begin = position if piece is None else piece.word_at(position, self.format.rate)
        size = self.format.size
        again = -(-2 * (self._sent - begin) // size) * size  # whole frames: what follows stays aligned
        again = min(again, len(self._past) // size * size)
        begin = self._sent - again // 2
        if again:
            self._buffer[:0] = self._past[-again:]
            del self._past[-again:]
        self._rewind(begin, now)

    def resume(self) -> None:
        """Go on."""
        self._paused = False

    # What was heard

    def heard_pts(self, now: float) -> int:
        """Position of the sample now at the caller's ear."""
        return max(min(self._confirmed, self._sent), self._played(now - self.delay))

    def played(self, now: float) -> Iterator[tuple[bytes, float]]:
        """Audio that reached the ear since the last call, and when; what `cut` dropped never did."""
        while self._unheard and self._unheard[0][1] + self.delay <= now:
            pcm, at = self._unheard.popleft()
            yield pcm, at + self.delay

    def finished(self, now: float) -> list[Heard]:
        """Utterances heard to their end since the last call."""
        done: list[Heard] = []
        while self._pieces and self._pieces[0].utterance <= self._ended:
            mine = self._first_utterance()
            if mine[-1].end > self.heard_pts(now):
                break
            for _ in mine:
                self._pieces.popleft()
            done.append(self._heard(mine, mine[-1].end))
        return done

    def cut(self, now: float) -> Heard | None:
        """Drop everything not yet heard; later writes of the cut utterance are dropped too.

        The far end plays on for `delay` until it learns of the cut: that counts as heard.
        """
        position = self._stopped_at if self._paused else self._played(now)
        mine = self._first_utterance()
        heard = self._heard(mine, position) if mine else None
        self._buffer.clear()
        self._pieces.clear()
        self._began.clear()
        self._past.clear()
        self._paused = False
        self._rewind(position, now)
        self._current += 1
        return heard

    def _rewind(self, position: int, now: float) -> None:
        """What was sent after `position` was not; the far end forgets it."""
        self._unheard = deque(sent for sent in self._unheard if sent[1] < now)
        self._sent = self._confirmed = position
        self._run = (position, now)

    def _played(self, now: float) -> int:
        """Position that a loudspeaker without delay would have reached."""
        start, at = self._run
        return min(self._sent, start + max(0, round((now - at) * self.format.rate)))

    @property
    def _written(self) -> int:
        return self._sent + len(self._buffer) // 2

    def _first_utterance(self) -> list[_Piece]:
        return [p for p in self._pieces if p.utterance == self._pieces[0].utterance]

    def _utterance_at(self, pts: int) -> int:
        return next((p.utterance for p in self._pieces if p.end > pts), self._current)

    def _heard(self, pieces: list[_Piece], position: int) -> Heard:
        first, last = pieces[0], pieces[-1]
        samples = max(0, min(position, last.end) - first.start)
        complete = first.utterance <= self._ended and position >= last.end
        text = "".join(p.heard(position, self.format.rate) for p in pieces).strip()
        said = "".join(p.text for p in pieces).strip()
        began = self._began.pop(first.utterance, self._run[1])
        return Heard(first.utterance, text, said, samples * 1000 // self.format.rate, complete, began)
