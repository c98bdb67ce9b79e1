"""The two directions of a media socket's sound. No I/O, no clock: the leg's beats drive them.

SoundIn: sockets lose nothing, but they stall and then deliver everything at once. Sound is passed on as it
comes, cut into packet times, a burst spread a little; what is more than 2 s behind is of no use to a
conversation, so its oldest is dropped and counted. Carriers that number their messages may mix them up: they
are put in order. Where no sound comes (carriers that suppress silence),
silence stands in, so that speech ends.

SoundOut: frames of a tick travel together where the carrier allows it, and marks follow them.
"""

from collections import deque
from collections.abc import Callable

from media.codecs import Coder
from media.frames import AudioFormat, AudioFrame
from media.keytones import key_tones
from sip.mediacore import Audio, Encoding, MediaStreamCore, Message, Started
from sip.medialine import StreamStats, coders

FRAME_MS = 20
LIMIT = 2000 // FRAME_MS  # frames that wait at most
AT_ONCE = 5  # frames passed on in one packet time: 2 s that were late are caught up in 0.4 s
PATIENCE = 5  # packet times without sound before silence stands in: stalls are shorter, mostly
LONGEST_PATIENCE = 50  # 1 s; carriers that send in large pieces are waited for longer
OVERTAKING = 2  # messages that may come before an earlier one: Telnyx promises no order
ANEW = 100  # numbers back: no message is 2 s late, so the carrier has begun to count anew
EARLY_BYTES = 64_000  # sound before the start: 2 s of the widest encoding
MARK_FRAMES = 10  # 200 ms: what was heard is known to a syllable, for 5 messages a second


class SoundIn:
    """The caller's voice: messages in, frames out."""

    def __init__(self, stats: StreamStats) -> None:
        self.stats = stats
        self.format = AudioFormat()
        self._decode: Coder | None = None
        self._early: deque[bytes] = deque()
        self._early_bytes = 0
        self._frames: deque[bytes] = deque(maxlen=LIMIT)
        self._rest = b""
        self._chunk: int | None = None  # number of the last
        self._overtook: dict[int, bytes] = {}  # messages that came before one that is still missing
        self._pts = 0  # samples reported
        self._credit = AT_ONCE
        self._starved = 0  # packet times without sound
        self._patience = PATIENCE

    def begin(self, encoding: Encoding) -> None:
        """Sound is in this encoding. Raises RemoteProtocolError if we do not speak it."""
        self._decode = coders(encoding)[0]
        self.format = AudioFormat(encoding.rate, FRAME_MS)
        while self._early:
            self._put(self._decode(self._early.popleft()))

    def receive(self, audio: Audio) -> None:
        """Sound has come; `take` what is ready."""
        self.stats.received_received += 1
        chunk, last = audio.chunk, self._chunk
        if chunk is None or last is None or chunk == last + 1 or chunk < last - ANEW:
            self._chunk = chunk
            self._accept(audio.payload)
            if self._overtook:
                self._catch_up()
        elif chunk <= last:
            self.stats.received_late += 1
        else:
            self._overtook[chunk] = audio.payload
            if len(self._overtook) > OVERTAKING:  # what is missing will not come
                self.stats.received_lost += min(self._overtook) - last - 1
                self._chunk = min(self._overtook) - 1
                self._catch_up()

    def take(self) -> AudioFrame | None:
        """The next frame that may be passed on in this packet time."""
        if self._credit <= 0 or not self._frames:
            return None
        self._credit -= 1
        self._starved = 0
        return self._frame(self._frames.popleft())

    def beat(self) -> None:
        """A new packet time."""
        self._credit = AT_ONCE
        self._starved += 1

    def stand_in(self) -> AudioFrame | None:
        """Silence, where no sound has come for too long."""
        if self._starved <= self._patience:
            return None
        self.stats.received_silent += 1
        return self._frame(bytes(self.format.size))

    def _frame(self, pcm: bytes) -> AudioFrame:
        frame = AudioFrame(pcm, self.format.rate, self._pts)
        self._pts = frame.end
        return frame

    def _put(self, pcm: bytes) -> None:
        size, frames = self.format.size, self._frames
        waits = min(LONGEST_PATIENCE, PATIENCE + len(pcm) // size)
        self._patience = max(self._patience, waits)
        pieces = [pcm]
        if len(pcm) != size or self._rest:
            pcm = self._rest + pcm
            whole = len(pcm) // size * size
            pieces, self._rest = [pcm[at : at + size] for at in range(0, whole, size)], pcm[whole:]
        self.stats.received_discarded += max(0, len(frames) + len(pieces) - LIMIT)
        frames.extend(pieces)

    def _catch_up(self) -> None:
        """Accept messages that had overtaken others, as far as they are next."""
        while self._chunk is not None and (payload := self._overtook.pop(self._chunk + 1, None)) is not None:
            self._chunk += 1
            self._accept(payload)

    def _accept(self, payload: bytes) -> None:
        if self._decode is not None:
            self._put(self._decode(payload))
        elif self._early_bytes + len(payload) <= EARLY_BYTES:
            self._early.append(payload)
            self._early_bytes += len(payload)
        else:
            self.stats.received_discarded += 1


class SoundOut:
    """Our voice: frames in, messages out."""

    def __init__(self, core: MediaStreamCore, send: Callable[[Message], None], stats: StreamStats) -> None:
        self._core, self._send, self._stats = core, send, stats
        self._encode: Coder = bytes
        self._format = AudioFormat()
        self._frames: list[bytes] = []  # PCM of this tick, and of those before that was too little to send
        self._fresh = False  # this tick has brought some
        self._keys: deque[bytes] = deque()  # frames of keys that are pressed by sound
        self._generation = 0  # each clear begins a new one
        self._unmarked = 0  # frames sent since the last mark
        self._pts = 0  # end of the last

    def begin(self, started: Started) -> None:
        """Sound goes out in this encoding. Raises RemoteProtocolError if we do not speak it."""
        self._encode = coders(started.sent)[1]
        self._format = AudioFormat(started.sent.rate, FRAME_MS)

    @property
    def pressing(self) -> bool:
        """Whether keys are being pressed by sound."""
        return bool(self._keys)

    def press(self, keys: str) -> None:
        """Press keys by sound, frame by frame."""
        pcm, size = key_tones(keys, self._format.rate), self._format.size
        self._keys += (pcm[at : at + size].ljust(size, b"\0") for at in range(0, len(pcm), size))

    def put(self, frame: AudioFrame) -> None:
        """A frame for this tick."""
        self._frames.append(frame.pcm)
        self._fresh = True
        self._pts = frame.end

    def clear(self) -> None:
        """Have what the far end has buffered forgotten. Marks for it count no more."""
        self._generation += 1
        self._unmarked = 0
        self._frames.clear()
        if (message := self._core.clear()) is not None:
            self._stats.sent_clears += 1
            self._send(message)

    def played(self, mark: str) -> int | None:
        """Position that a returned mark confirms; None where it says nothing: carriers return the marks of
        cleared audio too."""
        self._stats.marks_returned += 1
        generation, _, pts = mark.partition(":")
        return int(pts) if generation == str(self._generation) and pts.isdecimal() else None

    def flush(self) -> None:
        """Send what this tick has brought."""
        frames = self._frames
        if self._keys:
            frames.append(self._keys.popleft())
            self._fresh = True
        fresh, self._fresh = self._fresh, False
        count = len(frames)
        if fresh and count < self._core.message_frames:
            return  # more will come; if not, the next tick sends it
        if count == 1 or (count and not self._core.single_frames):
            pcm = frames[0] if count == 1 else b"".join(frames)
            self._send(self._core.audio(self._encode(pcm)))
        else:
            for pcm in frames:
                self._send(self._core.audio(self._encode(pcm)))
        frames.clear()
        self._stats.sent_packets += count
        self._unmarked += count
        if self._unmarked >= MARK_FRAMES or (self._unmarked and not count):  # the second: speech has ended
            self._mark()

    def _mark(self) -> None:
        self._unmarked = 0
        if (mark := self._core.mark(f"{self._generation}:{self._pts}")) is not None:
            self._stats.sent_marks += 1
            self._send(mark)
