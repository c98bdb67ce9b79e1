"""libespeak-ng by ctypes: the one instance of it in this process.

The library keeps everything in globals, so there is one `Library` a process (`library()`) and one
lock around it. `speak` blocks, releases the GIL inside and reports buffers of about 60 ms from
within; it makes speech about a thousand times faster than real time.

Two habits of libespeak-ng are smoothed over here. Voices that its own list calls "en-gb" or "fr-fr"
are only found by their file ("gmw/en"); and a variant that does not exist ("en-us+zz") is silently
ignored instead of refused.
"""

import ctypes
import difflib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from media.errors import MissingExtra, ProviderError

BUFFER_MS = 60  # the library's floor; smaller values change nothing

# speak_lib.h
_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_CHARS_UTF8, _SSML = 1, 0x10
_POSITION_CHARACTER = 1
_RATE, _VOLUME, _PITCH, _RANGE, _WORD_GAP = 1, 2, 3, 4, 7
_EVENT_END_OF_LIST, _EVENT_WORD = 0, 1


class _Event(ctypes.Structure):
    class _Id(ctypes.Union):
        _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


class _Voice(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True, slots=True)
class Word:
    """Where a word begins, in the text and in the audio of one `speak`."""

    char: int  # from 0
    sample: int


@dataclass(frozen=True, slots=True)
class Style:
    """How to speak. `voice` is a file of the library, as `Library.find_voice` returns it."""

    voice: str
    wpm: int
    pitch: int
    pitch_range: int
    volume: int
    word_gap: int  # 10 ms
    ssml: bool = False  # the text has tags


OnBuffer = Callable[[bytes, list[Word]], bool]  # True: go on


class Library:
    """Get it from `library()`: a second instance would share the first one's globals."""

    def __init__(self, path: str, data: str) -> None:
        self._lib = _load(path)
        self.rate: int = self._lib.espeak_Initialize(_SYNCHRONOUS, BUFFER_MS, data.encode(), _DONT_EXIT)
        if self.rate <= 0:
            raise ProviderError(f"espeak-ng cannot be initialised with the data in {data}")
        self._lock = threading.Lock()
        self._on_buffer: OnBuffer | None = None
        self._failure: BaseException | None = None
        self._callback = _Callback(self._receive)  # the library keeps only a pointer to it
        self._lib.espeak_SetSynthCallback(self._callback)
        self._voices = _names(self._list(None))
        self._variants = _names(self._list(b"variant"))

    @property
    def voices(self) -> tuple[str, ...]:
        """Languages that can be spoken, as a configuration names them."""
        return tuple(sorted(name for name in self._voices if "/" not in name))

    def find_voice(self, name: str) -> str:
        """The file of a voice named by language, name or file, with an optional +variant.

        Raises ProviderError with the closest names.
        """
        base, plus, variant = name.partition("+")
        file = _find(base, self._voices, "voice")
        if not plus:
            return file
        return f"{file}+{_find(variant, self._variants, 'voice variant').removeprefix('!v/')}"

    def speak(self, text: str, style: Style, on_buffer: OnBuffer) -> None:
        """Speak `text` in the calling thread; ends early once `on_buffer` returns False.

        What `on_buffer` raises ends it too and is raised from here.
        """
        with self._lock:
            self._set(style)
            self._on_buffer, self._failure = on_buffer, None
            data = text.encode()
            flags = _CHARS_UTF8 | (_SSML if style.ssml else 0)
            self._lib.espeak_Synth(data, len(data) + 1, 0, _POSITION_CHARACTER, 0, flags, None, None)
            failure, self._on_buffer, self._failure = self._failure, None, None
        if failure is not None:
            raise failure

    def _set(self, style: Style) -> None:
        # Each time (80 us): the library's state is one for the process, and others may have set it.
        if self._lib.espeak_SetVoiceByName(style.voice.encode()) != 0:
            raise ProviderError(f"espeak-ng has no voice {style.voice!r}")
        for parameter, value in (
            (_RATE, style.wpm),
            (_VOLUME, style.volume),
            (_PITCH, style.pitch),
            (_RANGE, style.pitch_range),
            (_WORD_GAP, style.word_gap),
        ):
            self._lib.espeak_SetParameter(parameter, value, 0)

    def _receive(self, wav: Any, samples: int, events: Any) -> int:
        if self._on_buffer is None or self._failure is not None:
            return 1
        try:
            pcm = ctypes.string_at(wav, 2 * samples) if wav and samples else b""
            return 0 if self._on_buffer(pcm, list(_words(events))) else 1
        except BaseException as error:  # must not unwind through C; `speak` raises it
            self._failure = error
            return 1

    def _list(self, language: bytes | None) -> Iterator[tuple[list[str], str]]:
        spec = _Voice(languages=language)
        found = self._lib.espeak_ListVoices(ctypes.byref(spec) if language else None)
        index = 0
        while found[index]:
            voice = found[index].contents
            file = voice.identifier.decode()
            # `languages` starts with a priority byte: b"\x05en-us"
            yield [voice.languages[1:].decode(errors="replace"), file.rpartition("/")[2]], file
            index += 1


@cache
def library() -> Library:
    """The instance of this process, loaded on first use. Raises MissingExtra."""
    try:
        import espeakng_loader  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra("espeak", "espeakng-loader") from error
    return Library(espeakng_loader.get_library_path(), espeakng_loader.get_data_path())


def _load(path: str) -> Any:
    try:
        lib = ctypes.CDLL(path)
    except OSError as error:
        raise ProviderError(f"espeak-ng cannot be loaded: {error}") from error
    lib.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.POINTER(ctypes.c_uint),
        ctypes.c_void_p,
    ]
    lib.espeak_ListVoices.argtypes = [ctypes.c_void_p]
    lib.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
    return lib


def _words(events: Any) -> Iterator[Word]:
    index = 0
    while (event := events[index]).type != _EVENT_END_OF_LIST:
        if event.type == _EVENT_WORD:
            yield Word(event.text_position - 1, event.sample)
        index += 1


def _names(voices: Iterator[tuple[list[str], str]]) -> dict[str, str]:
    """Every name of a voice -> its file. The language of the first voice that has it wins."""
    names: dict[str, str] = {}
    for aliases, file in voices:
        for alias in (*aliases, file):
            names.setdefault(alias.lower(), file)
    return names


def _find(name: str, names: dict[str, str], what: str) -> str:
    file = names.get(name.lower())
    if file is None:
        close = difflib.get_close_matches(name.lower(), names, n=4, cutoff=0.5)
        hint = f"; did you mean {', '.join(close)}?" if close else f"; there are {len(set(names.values()))}"
        raise ProviderError(f"espeak-ng has no {what} {name!r}{hint}")
    return file
