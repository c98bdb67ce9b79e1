"""What Prometheus reads."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from media.errors import ProviderError
from media.leg import Direction, HangupCause
from tests.clock import run
from tests.voicegw.fakes import FakeTts
from voicegw.measure import MeasuredVoice
from voicegw.metrics import STEPS, Metrics


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"voicegw_{name}", labels) or 0.0


def test_the_exposition_can_be_parsed_and_is_complete_from_the_start() -> None:
    names = {family.name for family in text_string_to_metric_families(Metrics().exposition().decode())}
    wanted = "calls calls_rejected calls_active turn_latency_seconds ticker_lateness_seconds rtp_in_packets "
    wanted += "stt_final_seconds tts_requests tts_audio_seconds no_inputs barge_ins errors call_crashes"
    assert {f"voicegw_{name}" for name in wanted.split()} <= names


def test_latency_is_told_by_step() -> None:
    metrics = Metrics()
    metrics.event("latency", {"turn_at_ms": 5000, "eot_ms": 500, "stt_ms": 20, "total_ms": 700})
    assert value(metrics, "turn_latency_seconds_sum", step="total") == pytest.approx(0.7)
    assert value(metrics, "turn_latency_seconds_count", step="eot") == 1
    assert value(metrics, "turn_latency_seconds_count", step="tts") == 0
    assert value(metrics, "stt_final_seconds_sum") == pytest.approx(0.02)


def test_events_are_counted() -> None:
    metrics = Metrics()
    metrics.event("turn", {"source": "speech", "rejected": True})
    metrics.event("turn", {"source": "dtmf"})
    metrics.event("barge_in", {})
    metrics.event("no_input", {"count": 1})
    metrics.event("final", {"rejected": False})
    metrics.event("error", {"where": "stt"})
    metrics.ended(Direction.INBOUND, HangupCause.NORMAL, 12.5)
    metrics.ended(Direction.INBOUND, HangupCause.CANCELLED, None)
    assert value(metrics, "turns_total", source="speech", understood="no") == 1
    assert value(metrics, "turns_total", source="dtmf", understood="yes") == 1
    assert value(metrics, "barge_ins_total") == 1
    assert value(metrics, "no_inputs_total") == 1
    assert value(metrics, "stt_transcripts_total", rejected="no") == 1
    assert value(metrics, "errors_total", where="stt") == 1
    assert value(metrics, "calls_total", direction="inbound", cause="cancelled") == 1
    assert value(metrics, "call_duration_seconds_count") == 1


def test_nothing_that_comes_from_outside_becomes_a_label() -> None:
    metrics = Metrics()
    for n in range(100):
        metrics.event("error", {"where": f"made up {n}"})
        metrics.event("latency", {f"step{n}_ms": 1})
    assert value(metrics, "errors_total", where="call") == 100
    text = metrics.exposition().decode()
    assert "made up" not in text and "step5" not in text
    assert {line.split('step="')[1].split('"')[0] for line in text.splitlines() if 'step="' in line} == set(
        STEPS
    )


def test_lateness_is_the_99th_percentile_of_the_last_seconds() -> None:
    late = Metrics().late
    assert late.p99_ms() == 0
    for n in range(1000):
        late.observe(0.05 if n % 50 == 0 else 0.001)
    assert late.p99_ms() == pytest.approx(50)
    for _ in range(1000):
        late.observe(0.001)
    assert late.p99_ms() == pytest.approx(1), "old beats are forgotten"
    late.forget()
    assert late.p99_ms() == 0


def test_figures_of_others_are_read_when_asked_for() -> None:
    @dataclass
    class Counters:
        sent: int = 0
        alive: int = 3
        down: str = ""

    metrics, counters = Metrics(), Counters()
    metrics.pull_counts("sip", "test", lambda: counters, but={"alive"})
    metrics.pull_gauge("backlog", "test", lambda: counters.alive)
    counters.sent = 7
    assert value(metrics, "sip_total", kind="sent") == 7
    assert value(metrics, "backlog") == 3
    assert 'kind="alive"' not in metrics.exposition().decode()
    assert 'kind="down"' not in metrics.exposition().decode()


def test_the_voice_is_measured() -> None:
    metrics = Metrics()

    async def speak(tts: FakeTts, stop: bool = False) -> None:
        async with aclosing(MeasuredVoice(tts, metrics).synthesize("Hello.")) as speech:
            async for _ in speech:
                if stop:
                    return
                await asyncio.sleep(10)  # the caller's ear, which is not the engine's time

    run(speak(FakeTts(ms=500)))
    run(speak(FakeTts(ms=500), stop=True))
    with pytest.raises(ProviderError):
        run(speak(FakeTts(error=ProviderError("gone"))))
    assert [value(metrics, "tts_requests_total", result=r) for r in ("done", "cut", "failed")] == [1, 1, 1]
    assert value(metrics, "tts_audio_seconds_total") == pytest.approx(1.0)
    assert value(metrics, "tts_busy_seconds_total") < 1
    assert value(metrics, "errors_total", where="tts") == 1
