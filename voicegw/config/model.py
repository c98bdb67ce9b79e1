"""All settings of the server: one tree of frozen dataclasses.

Sections of other rooms are their own dataclasses (`SipConfig`, `TurnPolicy`, the engines' `Config`);
the fields' docstrings are the reference that `voicegw config --defaults` prints.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from dialog.llm.fallback import FallbackConfig
from dialog.turn import TurnPolicy
from media.callconfig import SessionConfig
from media.fallback.config import EarsFallback, VoiceFallback
from media.providers import Kind, load
from media.tts.cache import CacheConfig
from media.tts.speech import SpeechConfig
from recordings.calllog import Config as TimelineConfig
from recordings.recorder import Config as RecordingConfig
from sip.freeswitch.config import FreeswitchConfig
from sip.rtpmedia import RtpConfig
from sip.ua.config import SipConfig
from sip.webrtc.config import WebRtcConfig
from voicegw.config.carriers import CarriersConfig
from voicegw.config.outbound import OutboundConfig
from voicegw.storage.engine import Config as StorageConfig

DATA_DIR = Path("data")


class SipStack(StrEnum):
    """Which SIP stack signals."""

    OWN = "own"
    PJSUA2 = "pjsua2"


class LogFormat(StrEnum):
    """How log records look."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """The web side: health, metrics, and the calls with their recordings."""

    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0 opens it to the network; /health and /metrics are then public, all else
    needs `token`."""
    port: int = 8080
    """TCP port, 0 to 65535; 0 takes any free one."""
    token: str = ""
    """Secret of those who may do from other machines what anybody may do from this one: read calls and
    recordings, place and end calls, take part in them, drain (`Authorization: Bearer ...`, or as password in
    the browser). Long and random, such as `openssl rand -hex 24`. Empty: from this machine only."""
    public_url: str = ""
    """How the world reaches this server, such as https://voice.example.com: carriers are told to connect
    there, and their signatures are checked over it. Empty: by its own address."""


@dataclass(frozen=True, slots=True)
class Routing:
    """Which flow answers which call. Looked at in this order: header, number, default."""

    header: str = ""
    """Name of a SIP header that may choose the flow, such as X-Tenant. Empty: none."""
    headers: dict[str, str] = field(default_factory=dict)
    """Value of that header -> name of a flow."""
    numbers: dict[str, str] = field(default_factory=dict)
    """Called number, or user part of the called SIP address -> name of a flow. A `*` at the end stands
    for any rest; the longest match wins. Quote numbers."""
    default: str = ""
    """Flow for all other calls. Empty: while `numbers` and `headers` are empty too, the first flow takes
    every call; else calls to unlisted numbers are refused with 404."""
    early_media: tuple[str, ...] = ()
    """Flows that greet before they answer (early media, SIP 183): the call begins to cost once the greeting
    is over or the caller speaks. Not every carrier lets callers hear it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When further calls are refused (503 with Retry-After), so that those in progress stay good."""

    max_calls: Annotated[int, Field(ge=1)] = 100
    """Calls at a time, ringing ones included; 1 or more. Measure what your machine holds with `make bench`;
    a call that the recogniser has no room for goes on by keys."""
    reserved: Annotated[int, Field(ge=0)] = 0
    """Of these, places that only calls of ours and those from or to a number of `priority` may take."""
    priority: tuple[str, ...] = ()
    """Numbers, calling or called, that may take reserved places. A `*` at the end stands for any rest.
    Quote numbers."""
    per_flow: dict[str, Annotated[int, Field(ge=0)]] = field(default_factory=dict)
    """Name of a flow -> calls at a time; further ones hear busy (486). Flows that are not named: no limit of
    their own."""
    per_caller: Annotated[int, Field(ge=0)] = 0
    """Calls at a time from one number; further ones hear busy (486). 0: no limit; many people may call from
    behind one number."""
    lateness_ms: int = 40
    """99th percentile of the 20 ms ticker's lateness over the last 5 s. Far ends buffer 40 to 60 ms: beyond,
    all callers hear gaps. Calls are taken again when it is below 60 % of this for 5 s. 0: do not look."""
    stall_ms: Annotated[int, Field(ge=0)] = 200
    """The event loop standing still for so long, in which no call hears anything, is an error in the log that
    names what it stood in. 0: do not look."""
    retry_after_s: int = 10
    """What refused callers are told to wait: calls last minutes, so the load changes within seconds."""

    def __post_init__(self) -> None:
        if self.reserved >= self.max_calls:
            raise ValueError(f"reserved ({self.reserved}) must leave room of max_calls ({self.max_calls})")


@dataclass(frozen=True, slots=True)
class Drain:
    """How the server stops (SIGTERM, Ctrl-C)."""

    limit_s: float = 30.0
    """New calls are refused, those in progress may go on for this long. Most calls are over in 3 minutes;
    give 180 where a deployment can wait. 0: end them at once."""
    goodbye_s: float = 10.0
    """Then callers are told that the call ends; after this long they are hung up on. The phrase takes 4 s."""


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is written to stderr, one line a record."""

    level: LogLevel = LogLevel.INFO
    """debug, info, warning or error. Debug shows every SIP message."""
    levels: dict[str, LogLevel] = field(default_factory=dict)
    """Logger -> level, where it differs: {sip: debug, media.stt: warning}."""
    format: LogFormat = LogFormat.AUTO
    """json for machines, text for people, auto: text on a terminal, else json."""
    show_pii: bool = False
    """Show what callers say, their numbers and keys in the log, instead of ***."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine by name, with the options of its own `Config`, and those that take over when it fails."""

    engine: str
    options: Any
    others: "tuple[Engine, ...]" = ()


def _engine(kind: Kind, name: str) -> Any:
    def default() -> Engine:
        return Engine(name, load(kind, name).config())

    return field(default_factory=default, metadata={"kind": kind, "engine": name})


def _engines(kind: Kind, name: str) -> Any:
    """None by default; `name` where an entry names options but no engine."""
    return field(default_factory=dict, metadata={"kind": kind, "engine": name, "by": "language"})


def _no_engine(kind: Kind, name: str) -> Any:
    """None by default; `name` where a setting names options but no engine."""
    return field(default=None, metadata={"kind": kind, "engine": name})


def _zone(name: str) -> str:
    try:
        ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}; names look like Europe/Berlin") from None
    return name


@dataclass(frozen=True, slots=True)
class FallbackSettings:
    """Where several engines of a kind are listed: when the next one takes over."""

    stt: EarsFallback = EarsFallback()
    tts: VoiceFallback = VoiceFallback()
    llm: FallbackConfig = FallbackConfig()


@dataclass(frozen=True, slots=True)
class Config:
    """Times carry their unit in their name: _ms, _s."""

    data_dir: Path = DATA_DIR
    """Where calls are kept: the database, recordings and timelines. Made if it is not there;
    relative to the working directory."""
    models_dir: Path | None = None
    """Where `voicegw models` keeps what it brings; engines name such a model by its name (`model:
    whisper-base`). null: models in data_dir."""
    flows: tuple[Path, ...] = (Path("flows"),)
    """Flow files, or folders of them, relative to this file. Without a file: the demo, a clinic's line."""
    timezone: Annotated[str, AfterValidator(_zone)] = ""
    """Time zone in which flows understand "tomorrow" and "nine o'clock", such as Europe/Berlin. Empty: this
    machine's."""
    sip_stack: SipStack = SipStack.OWN
    """own, or pjsua2: another stack for comparison, by `pip install voicegw[pjsua2]`; as built for PyPI it
    holds four calls."""
    sip: SipConfig = SipConfig()
    rtp: RtpConfig = RtpConfig()
    http: HttpConfig = HttpConfig()
    webrtc: WebRtcConfig = WebRtcConfig()
    routing: Routing = field(default_factory=Routing)
    freeswitch: FreeswitchConfig = FreeswitchConfig()
    outbound: OutboundConfig = field(default_factory=OutboundConfig)
    carriers: CarriersConfig = CarriersConfig()
    stt: Engine = _engine("stt", "pocketsphinx")
    """Speech to text."""
    tts: Engine = _engine("tts", "espeak")
    """Text to speech."""
    stt_by_language: dict[str, Engine] = _engines("stt", "pocketsphinx")
    """Recognisers for languages that a flow changes to and `stt` does not hear: {de: {engine: whisper,
    ...}}."""
    tts_by_language: dict[str, Engine] = _engines("tts", "espeak")
    """Voices for languages that a flow changes to. espeak speaks them by itself, unless one stands here."""
    vad: Engine = _engine("vad", "webrtc")
    """Voice activity detection."""
    eot: Engine = _engine("eot", "rules")
    """How finished a caller sounds who pauses: `turn.complete_silence_ms` to `turn.incomplete_silence_ms`
    follow it. rules (words and melody), onnx (a model of yours), off, or a dotted module name."""
    denoise: Engine | None = _no_engine("denoise", "spectral")
    """Noise suppression before detector and recogniser: spectral, or a dotted module name. None unless
    set."""
    llm: Engine | None = _no_engine("llm", "openai")
    """Language model, for the agents among `flows`: openai (and what speaks its protocol), anthropic,
    llamacpp, or a dotted module name, with its options. A list names several: each takes over when those
    before it fail."""
    speech: SpeechConfig = field(default_factory=SpeechConfig)
    """How text is read aloud."""
    prompts: CacheConfig = CacheConfig()
    """Prompts kept, and synthesised before they are wanted."""
    fallback: FallbackSettings = FallbackSettings()
    turn: TurnPolicy = TurnPolicy()
    session: SessionConfig = field(default_factory=SessionConfig, metadata={"omit": ("policy",)})
    recording: RecordingConfig = RecordingConfig()
    timeline: TimelineConfig = TimelineConfig()
    storage: StorageConfig = StorageConfig()
    limits: Limits = Limits()
    drain: Drain = Drain()
    log: LogConfig = field(default_factory=LogConfig)

    @property
    def models_folder(self) -> Path:
        """Where models are."""
        return self.data_dir / "models" if self.models_dir is None else self.models_dir
