"""What is watched of the parts: their counters for /metrics, their faults for /health."""

import logging
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from media.stt.base import SpeechToText
from media.tts.cache import PromptCache
from sip.carrierdesk import CarrierDesk, DeskStats
from sip.carrierrest import RestClient, RestStats
from sip.freeswitch import FreeswitchEdge
from sip.ua.agent import UserAgent
from sip.ua.registration import RegistrationStatus
from voicegw.callbacks import Callbacks
from voicegw.carriers import Carriers
from voicegw.clock import utc
from voicegw.health import Health
from voicegw.keeper import CallKeeper
from voicegw.metrics import Metrics
from voicegw.stall import StallCounters

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

log = logging.getLogger(__name__)

GAUGES = ("workers", "busy", "waiting")  # of worker pools


@runtime_checkable
class HasStats(Protocol):
    """An engine that counts. Whole numbers and names ending in `_s` (seconds) become metrics."""

    def stats(self) -> "DataclassInstance":
        """Counters since the start, and gauges: `workers`, `streams`, `open_utterances`."""


def watch_keeper(keeper: CallKeeper, metrics: Metrics, health: Health) -> None:
    """Recordings, timelines, the database. Calls are taken without them."""
    store = keeper.store
    metrics.pull_counts("recordings", "Recordings and timelines, by fate.", lambda: keeper.counters)
    metrics.pull_counts("storage_changes", "Changes for the database, by fate.", lambda: store.counters)
    metrics.pull_gauge("storage_backlog", "Changes that are not written yet.", lambda: store.backlog)
    if (space := keeper.writer.space) is not None:
        metrics.pull_gauge("disk_free_bytes", "Free space for data.", lambda: space.free)
    health.add("storage", keeper.storage_fault, vital=False)
    health.add("disk", keeper.disk_fault, vital=False)


@runtime_checkable
class HasFault(Protocol):
    """An engine that knows when it is down."""

    def fault(self) -> str | None:
        """Why requests are not answered as they should be; None when they are."""


def watch_engine(kind: str, engine: object, metrics: Metrics, health: Health) -> None:
    """A voice or a language model: its counters, and whether it is down. Calls are taken without it: they
    hear an apology, or go to a person."""
    if isinstance(engine, HasStats):
        read = engine.stats
        metrics.pull_counts(f"{kind}_events", f"What the {kind} engines have met.", read, but=GAUGES)
        text = f"Of the {kind} engine, now."
        for name in (f.name for f in fields(read()) if f.name in GAUGES):
            metrics.pull_gauge(f"{kind}_{name}", text, partial(_gauge, engine, name))
    health.add(kind, engine.fault if isinstance(engine, HasFault) else lambda: None, vital=False)


def watch_prompts(cache: PromptCache, metrics: Metrics) -> None:
    """Prompts that are kept."""
    stats, gauges = cache.stats, ("prompts", "cache_bytes")
    metrics.pull_counts("tts_cache", "Prompts that were kept, shared or made ahead.", stats, but=gauges)
    metrics.pull_gauge("tts_cache_prompts", "Prompts in memory.", lambda: stats().prompts)
    metrics.pull_gauge("tts_cache_bytes", "Their audio in memory.", lambda: stats().cache_bytes)


def watch_ears(ears: SpeechToText, metrics: Metrics, health: Health) -> None:
    """The recogniser. Without its workers no call should come here."""
    if not isinstance(ears, HasStats):
        health.add("stt", lambda: None)
        return
    gauges = ("workers", "streams", "open_utterances")
    metrics.pull_counts("stt_events", "What the recogniser has met.", ears.stats, but=gauges)
    metrics.pull_counts("stt_seconds", "Time in the recogniser.", ears.stats, kind=float)
    for name in gauges:
        metrics.pull_gauge(f"stt_{name}", "Of the recogniser, now.", partial(_gauge, ears, name))
    if isinstance(ears, HasFault):
        health.add("stt", ears.fault, vital=False)
    elif hasattr(ears.stats(), "workers"):
        health.add("stt", lambda: None if _gauge(ears, "workers") else "no worker is running")
    else:
        health.add("stt", lambda: None)


def _gauge(ears: HasStats, name: str) -> float:
    """0 where an engine has none by this name."""
    return float(getattr(ears.stats(), name, 0))


def watch_sip(sip: UserAgent, metrics: Metrics, health: Health) -> None:
    """Signalling. A trunk that is not registered brings no calls; others still do."""
    metrics.pull_counts("sip", "What the SIP stack has met.", lambda: sip.counters, but=("transactions",))
    metrics.pull_gauge("sip_transactions", "SIP transactions now.", lambda: sip.counters.transactions)
    metrics.pull_gauge("sip_phones", "Registered phones now.", lambda: len(sip.registrar.bindings))

    def fault() -> str | None:
        lost = {
            name: state.error or state.status.value
            for name, state in sip.registrations.items()
            if state.status is RegistrationStatus.FAILED
        }
        return "; ".join(f"trunk {name}: {why}" for name, why in lost.items()) or None

    health.add("sip", fault, vital=False)
    metrics.pull_gauge("sip_banned_sources", "Sources banned now.", lambda: len(sip.sources.bans))
    tls = sip.tls
    if tls is not None and tls.server is not None:
        health.add("sip tls", lambda: tls.fault(utc().timestamp()), vital=False)
        metrics.pull_gauge(
            "sip_certificate_expiry_seconds",
            "When the certificate of the TLS port expires, in seconds since 1970.",
            lambda: tls.validity.not_after if tls.validity is not None else 0,
        )
        if trouble := tls.fault(utc().timestamp()):
            log.warning("sip certificate", extra={"error": trouble})


def watch_freeswitch(edge: FreeswitchEdge, metrics: Metrics, health: Health) -> None:
    """The FreeSWITCH in front. Without its event socket no call comes from there; others still do."""
    counters, calls = edge.counters, edge.calls
    metrics.pull_counts("esl", "What was met on FreeSWITCH's event socket.", lambda: counters)
    metrics.pull_counts("esl_wire", "Messages of FreeSWITCH's event socket.", lambda: counters.wire)
    metrics.pull_counts("esl_seconds", "Time until replies came, summed.", lambda: counters, kind=float)
    metrics.pull_counts("freeswitch_repairs", "What was put right.", lambda: calls.counters)
    references = calls.references.counters
    metrics.pull_counts("freeswitch_references", "SIP calls with a reference.", lambda: references)
    metrics.pull_gauge("freeswitch_calls", "Calls of FreeSWITCH now.", lambda: len(calls.legs))
    waiting = edge.handover.queues
    metrics.pull_gauge("freeswitch_queued", "Callers in queues.", lambda: sum(waiting.lengths.values()))
    health.add("freeswitch", edge.fault, vital=False)


def watch_callbacks(callbacks: Callbacks, metrics: Metrics) -> None:
    """Status callbacks of outbound calls."""
    metrics.pull_counts("callbacks", "Status callbacks, by fate.", lambda: callbacks.counters)
    metrics.pull_gauge("callbacks_waiting", "Not delivered yet.", lambda: callbacks.waiting)


def watch_softphone(counters: "DataclassInstance", metrics: Metrics) -> None:
    """Calls from web pages. Whoever imports their counters needs the packages of the extra `webrtc`."""
    text = "Calls from web pages, and what was refused or went wrong with them."
    metrics.pull_counts("softphone", text, lambda: counters)


def watch_carriers(carriers: Carriers, metrics: Metrics) -> None:
    """Webhooks and sockets of carriers, and requests to them."""
    doors = {mount.carrier.name: partial(_stats, mount.desk) for mount in carriers.mounts}
    clients = {m.carrier.name: partial(_stats, m.carrier.client) for m in carriers.mounts if m.carrier.client}
    metrics.pull_counts_of("carrier_door", "Webhooks and sockets of carriers.", "carrier", doors)
    metrics.pull_counts_of("carrier_rest", "Requests to carriers.", "carrier", clients)
    reports = carriers.late.counters
    metrics.pull_counts("carrier_reports", "What carriers told of calls that were over.", lambda: reports)


def _stats(owner: CarrierDesk | RestClient) -> DeskStats | RestStats:
    return owner.stats


def watch_ticker(metrics: Metrics, health: Health, limit_ms: int) -> None:
    """The 20 ms ticker: too late, and all callers hear gaps."""

    def fault() -> str | None:
        late = metrics.late.p99_ms()
        return f"{late:.0f} ms late (99th percentile)" if limit_ms and late > limit_ms else None

    health.add("ticker", fault, vital=False)


def watch_stalls(stalls: StallCounters, metrics: Metrics) -> None:
    """The event loop: while it stands still, no call hears anything."""
    metrics.pull_gauge("loop_stalls", "Times that the event loop stood still.", lambda: stalls.stalls)
    text = "Time that the event loop stood still, in seconds."
    metrics.pull_gauge("loop_stalled_seconds", text, lambda: stalls.stalled_s)
