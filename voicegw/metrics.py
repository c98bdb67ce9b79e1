"""What Prometheus can read at /metrics. Labels only from closed sets: nothing a caller sends is a label.

Most figures come from the same events that make the timeline; the rest is pulled when somebody reads.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from media.leg import Direction, HangupCause
from media.observe import EventName
from media.quality import CallQuality

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Read = Callable[[], DataclassInstance]

STEPS = ("eot", "stt", "dialog", "tts", "playout", "total")
LATENCY_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.2, 1.5, 2, 3, 5)
LATE_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.5)
DURATION_BUCKETS = (1, 5, 15, 30, 60, 120, 180, 300, 600, 1200, 1800)

LATENESS_BEATS = 1000  # of 5 ms: the last 5 s
TOKENS = ("prompt", "completion", "cached")
SOURCES = ("speech", "dtmf", "text")
REJECTIONS = ("busy", "flow_busy", "caller_busy", "late", "draining", "not_found", "error", "gone")
ERRORS = ("reply", "stt", "tts", "transfer", "party", "dtmf", "recording", "call")
RTP_IN = (
    *("received", "lost", "late", "reordered", "duplicate", "discarded", "wrong_type", "garbage", "foreign"),
    *("concealed", "noise", "shortened", "lengthened"),
)
SRTP = ("srtp_unauthentic", "srtp_replayed", "srtp_failed")
WAYS = ("received", "sent")
MOS_BUCKETS = (1.5, 2.0, 2.5, 3.0, 3.25, 3.5, 3.75, 4.0, 4.2, 4.3, 4.4)
LOSS_BUCKETS = (0.0, 0.1, 0.3, 1, 2, 3, 5, 10, 20, 50)
RTP_OUT = ("packets", "silent", "dropped", "errors")


class Lateness:
    """How late the ticker's last beats were; the health figure that closes admission."""

    def __init__(self, histogram: Histogram) -> None:
        self._recent: deque[float] = deque(maxlen=LATENESS_BEATS)
        self._histogram = histogram

    def observe(self, late_s: float) -> None:
        """One beat. Some 2 us, 200 times a second, however many calls there are."""
        self._recent.append(late_s)
        self._histogram.observe(late_s)

    def p99_ms(self) -> float:
        """Of the last 5 s with calls; 0 before there are 100 beats."""
        if len(self._recent) < 100:
            return 0.0
        return sorted(self._recent)[-len(self._recent) // 100] * 1000

    def forget(self) -> None:
        """The last call has left: what the ticker did then says nothing about the next one."""
        self._recent.clear()


class Metrics:
    """All figures of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.calls = self._counter("calls", "Calls that have ended.", "direction", "cause")
        self.rejected = self._counter("calls_rejected", "Calls that were not answered.", "reason")
        self.active = self._gauge("calls_active", "Calls in progress, ringing ones included.")
        self.duration = self._histogram(
            "call_duration_seconds", "Length of answered calls.", DURATION_BUCKETS
        )
        self.setup = self._histogram("call_setup_seconds", "From INVITE to the answer.", LATENCY_BUCKETS)
        self.latency = self._histogram(
            "turn_latency_seconds",
            "From the caller's last sound to the bot's first packet, by step.",
            LATENCY_BUCKETS,
            "step",
        )
        self.turns = self._counter("turns", "Turns of callers.", "source", "understood")
        self.barge_ins = self._counter("barge_ins", "Times that a caller silenced the bot.")
        self.false_alarms = self._counter("false_interruptions", "Times that a cough paused the bot.")
        self.keys_dropped = self._counter("keys_dropped", "Keys typed ahead that were dropped.")
        self.no_inputs = self._counter("no_inputs", "Prompts because a caller was silent.")
        self.errors = self._counter("errors", "Failures that calls survived.", "where")
        self.crashes = self._counter("call_crashes", "Calls ended by a bug of ours.")
        self.rtp_in = self._counter("rtp_in_packets", "RTP packets of ended calls, by fate.", "kind")
        self.rtp_out = self._counter("rtp_out_frames", "Frames sent in ended calls, by fate.", "kind")
        self._add_quality()
        self._add_speech()
        self._add_models()
        self.late = Lateness(
            self._histogram(
                "ticker_lateness_seconds", "How late the 20 ms ticker's beats were.", LATE_BUCKETS
            )
        )
        self._announce()

    def _add_speech(self) -> None:
        self.transcripts = self._counter("stt_transcripts", "Finals of the recogniser.", "rejected")
        self.stt_wait = self._histogram(
            "stt_final_seconds", "From the end of speech to the recogniser's final.", LATENCY_BUCKETS
        )
        self.tts_requests = self._counter("tts_requests", "Sentences synthesised.", "result")
        self.tts_first = self._histogram(
            "tts_first_audio_seconds", "From a sentence to its first audio.", LATENCY_BUCKETS
        )
        self.tts_busy = self._counter("tts_busy_seconds", "Time spent waiting for the voice.")
        self.tts_audio = self._counter("tts_audio_seconds", "Speech synthesised.")

    def _add_models(self) -> None:
        self.llm_first = self._histogram(
            "llm_first_token_seconds", "From a request to the model's first word.", LATENCY_BUCKETS, "model"
        )
        self.llm_tokens = self._counter("llm_tokens", "Tokens read and written.", "model", "kind")
        self.llm_cost = self._counter("llm_cost", "Cost of requests, where a price is configured.", "model")
        self.tools = self._counter("tool_calls", "Tools that models called.", "result")
        self.switched = self._counter("provider_switched", "An engine gave way.", "kind", "failed")

    def _add_quality(self) -> None:
        self.mos = self._histogram(
            "call_mos", "Estimated opinion score of ended calls (E-model), by direction.", MOS_BUCKETS, "way"
        )
        self.loss = self._histogram(
            "call_loss_percent", "Packets lost in ended calls, by direction.", LOSS_BUCKETS, "way"
        )
        self.round_trip = self._histogram(
            "call_round_trip_seconds", "Round trip of the network at the end of calls.", LATENCY_BUCKETS
        )

    def _announce(self) -> None:
        """Series that are 0 must be there too, else the first error is no rise."""
        for reason in REJECTIONS:
            self.rejected.labels(reason)
        for where in ERRORS:
            self.errors.labels(where)
        for kind in (*RTP_IN, *SRTP):
            self.rtp_in.labels(kind)
        for kind in RTP_OUT:
            self.rtp_out.labels(kind)
        for step in STEPS:
            self.latency.labels(step)
        for way in WAYS:
            self.mos.labels(way)
            self.loss.labels(way)

    # Events of calls

    def event(self, name: EventName, data: Mapping[str, Any]) -> None:
        """One event of some call, as it goes to the timeline."""
        match name:
            case "latency":
                for step in STEPS:
                    if (ms := data.get(f"{step}_ms")) is not None:
                        self.latency.labels(step).observe(ms / 1000)
                if (ms := data.get("stt_ms")) is not None:
                    self.stt_wait.observe(ms / 1000)
            case "turn":
                understood = "no" if data.get("rejected") else "yes"
                source = data.get("source")
                self.turns.labels(source if source in SOURCES else "other", understood).inc()
            case "final":
                self.transcripts.labels("yes" if data.get("rejected") else "no").inc()
            case "barge_in":
                self.barge_ins.inc()
            case "resume":
                self.false_alarms.inc()
            case "dtmf":
                self.keys_dropped.inc(data.get("count", 0))
            case "no_input":
                self.no_inputs.inc()
            case "note":
                self._note(str(data.get("name")), data.get("data") or {})
            case "error":
                where = str(data.get("where", ""))
                self.errors.labels(where if where in ERRORS else "call").inc()

    def _note(self, name: str, data: Mapping[str, Any]) -> None:
        """What an agent or an engine noted. Names of engines and models come from the configuration."""
        match name:
            case "llm":
                model = str(data.get("model"))
                if (ms := data.get("first_token_ms")) is not None:
                    self.llm_first.labels(model).observe(ms / 1000)
                for kind in TOKENS:
                    self.llm_tokens.labels(model, kind).inc(data.get(kind, 0))
                self.llm_cost.labels(model).inc(data.get("cost", 0))
            case "tool":
                self.tools.labels("ok" if data.get("ok") else "failed").inc()
            case "switched":
                self.switched.labels(str(data.get("kind")), str(data.get("failed"))).inc()

    def media(self, data: Mapping[str, Any]) -> None:
        """What the leg of an ended call counted (sip/rtpmedia.py: MediaStats.fields)."""
        for kind in RTP_IN:
            self.rtp_in.labels(kind).inc(float(data.get(f"received_{kind}", 0)))
        for kind in SRTP:
            self.rtp_in.labels(kind).inc(float(data.get(kind, 0)))
        for kind in RTP_OUT:
            self.rtp_out.labels(kind).inc(float(data.get(f"sent_{kind}", 0)))

    def quality(self, quality: CallQuality) -> None:
        """Of an ended call."""
        for way, stream, score in (
            ("received", quality.received, quality.mos_received),
            ("sent", quality.sent, quality.mos_sent),
        ):
            if stream is not None and score is not None:
                self.mos.labels(way).observe(score)
                self.loss.labels(way).observe(stream.loss_percent)
        if quality.round_trip_ms is not None:
            self.round_trip.observe(quality.round_trip_ms / 1000)

    def ended(self, direction: Direction, cause: HangupCause, seconds: float | None) -> None:
        """A call is over; `seconds` since its answer, None if there was none."""
        self.calls.labels(direction.value, cause.name.lower()).inc()
        if seconds is not None:
            self.duration.observe(seconds)

    # Figures that others keep

    def pull_gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A gauge that is read when asked for."""
        self._gauge(name, text).set_function(read)

    def pull_counts(
        self, name: str, text: str, read: "Read", *, kind: type = int, but: Collection[str] = ()
    ) -> None:
        """Counters kept elsewhere: every number of type `kind` in a dataclass, its name as label `kind`."""
        names = [f.name for f in fields(read()) if f.type is kind and f.name not in but]
        self.registry.register(_Counts(f"voicegw_{name}", text, {"": read}, names))

    def pull_counts_of(self, name: str, text: str, label: str, reads: "Mapping[str, Read]") -> None:
        """The same of several, each with a value of the label of its own."""
        names = [f.name for read in reads.values() for f in fields(read()) if f.type is int]
        self.registry.register(_Counts(f"voicegw_{name}", text, reads, list(dict.fromkeys(names)), label))

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"voicegw_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"voicegw_{name}", text, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"voicegw_{name}", text, labels, registry=self.registry, buckets=buckets)


class _Counts(Collector):
    """Counters that live in somebody else's dataclass."""

    def __init__(
        self, name: str, text: str, reads: "Mapping[str, Read]", names: list[str], label: str = ""
    ) -> None:
        self._name, self._text, self._reads, self._names, self._label = name, text, reads, names, label

    def collect(self) -> Iterator[Metric]:
        """Read them now."""
        labels = [self._label, "kind"] if self._label else ["kind"]
        family = CounterMetricFamily(self._name, self._text, labels=labels)
        for whose, read in self._reads.items():
            counters = read()
            for name in self._names:
                values = [whose, name.removesuffix("_s")] if self._label else [name.removesuffix("_s")]
                family.add_metric(values, getattr(counters, name))
        yield family
