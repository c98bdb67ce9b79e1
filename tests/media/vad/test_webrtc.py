"""The detector on real speech: flite's callers with pauses, on lines from good to bad."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import soxr

from dialog.turn import SpeechStarted, SpeechStopped
from media.errors import ProviderError
from media.frames import AudioFrame
from media.vad.base import VoiceDetector
from media.vad.webrtc import Config, create
from tests.callers import LEVEL_DBOV, frames, mu_law, speech

VOICES = ("slt", "rms", "awb")
WORDS = ("yes", "no", "two", "eight", "six", "one", "oh")
SENTENCES = (
    "yes please",
    "no thank you",
    "it is peter smith",
    "next tuesday at three p m",
    "are you open on saturday",
    "connect me with a human",
    "what are your opening hours please",
    "i want to make an appointment with the dentist",
)
Pcm = npt.NDArray[np.int16]


@dataclass
class Heard:
    """What a detector reported, as ms of the audio."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    ago: list[int] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)  # from the reported start to its report
    still: float | None = None


def listen(detector: VoiceDetector, audio: Iterable[AudioFrame]) -> Heard:
    heard = Heard()
    for frame in audio:
        event, now = detector.process(frame), 1000 * frame.end / frame.rate
        if isinstance(event, SpeechStarted):
            assert heard.still is None, "started twice"
            heard.still = now - event.ago_ms
            heard.ago.append(event.ago_ms)
            heard.delays.append(now)
        elif isinstance(event, SpeechStopped):
            assert heard.still is not None, "stopped before it started"
            heard.spans.append((heard.still, now - event.ago_ms))
            heard.still = None
    return heard


@cache
def line(snr_db: float | None, rate: int = 8000) -> tuple[Pcm, list[tuple[str, float, float]]]:
    """Every text by every voice with pauses of 1.2 to 2 s, and where each really is, in ms."""
    rng = np.random.default_rng(1)
    parts: list[npt.NDArray[np.float64]] = []
    spans, at = [], 0
    full_scale = 32768 * 10 ** (LEVEL_DBOV / 20)
    for voice in VOICES:
        for text in WORDS + SENTENCES:
            made, made_at = speech(text, voice)
            clip = soxr.resample(made, made_at, rate).astype(np.float64)
            active = clip[np.abs(clip) > np.abs(clip).max() * 0.02]
            clip *= full_scale / np.sqrt(np.mean(active**2))
            pause = int(rate * rng.uniform(1.2, 2.0))
            start, end = audible(clip, rate)
            spans.append((text, 1000 * (at + pause + start) / rate, 1000 * (at + pause + end) / rate))
            parts += [np.zeros(pause), clip]
            at += pause + len(clip)
    whole = np.concatenate([*parts, np.zeros(rate)])
    level = 3.0 if snr_db is None else full_scale * 10 ** (-snr_db / 20)
    return over(whole + rng.standard_normal(len(whole)) * level, rate), spans


def audible(clip: npt.NDArray[np.float64], rate: int) -> tuple[int, int]:
    """Where speech begins and ends: within 35 dB of its loudest 10 ms."""
    step = rate // 100
    power = np.mean(clip[: len(clip) // step * step].reshape(-1, step) ** 2, axis=1)
    loud = np.nonzero(power > power.max() * 10**-3.5)[0]
    return int(loud[0]) * step, int(loud[-1] + 1) * step


def over(samples: npt.NDArray[np.float64], rate: int) -> Pcm:
    pcm = np.clip(np.round(samples), -32768, 32767).astype(np.int16)
    return mu_law(pcm) if rate == 8000 else pcm


@dataclass(frozen=True)
class Bounds:
    missed: int  # of 45
    split: int  # pauses inside of sentences reported as silence; the turn engine bridges them
    onset_ms: tuple[float, float]  # median error of the reported start, and 90th percentile
    end_ms: tuple[float, float, float]  # 10th percentile, median and 90th of the end


@pytest.mark.parametrize(
    ("snr_db", "bounds"),
    [
        (None, Bounds(0, 0, (15, 30), (-20, 5, 50))),
        (20, Bounds(0, 4, (20, 60), (-90, 0, 100))),
        (10, Bounds(3, 6, (25, 75), (-150, -15, 90))),
    ],
)
def test_speech_is_found_where_it_is(snr_db: float | None, bounds: Bounds) -> None:
    pcm, truth = line(snr_db)
    heard = listen(create(Config()), frames(pcm.tobytes()))
    onsets, ends, split, missed, found = [], [], 0, [], 0
    for text, start, end in truth:
        mine = [span for span in heard.spans if span[0] < end and span[1] > start]
        found += len(mine)
        if not mine:
            missed.append(text)
            continue
        split += len(mine) - 1
        onsets.append(mine[0][0] - start)
        ends.append(mine[-1][1] - end)
    assert found == len(heard.spans), "something was heard in a pause"
    assert len(missed) <= bounds.missed, missed
    assert split <= bounds.split
    assert abs(np.median(onsets)) <= bounds.onset_ms[0]
    assert np.quantile(np.abs(onsets), 0.9) <= bounds.onset_ms[1]
    low, middle, high = bounds.end_ms
    assert low <= np.quantile(ends, 0.1)
    assert np.median(ends) == pytest.approx(middle, abs=20)
    assert np.quantile(ends, 0.9) <= high
    assert max(heard.ago) <= 280  # recognisers keep 300 ms


def test_start_is_reported_soon_enough_to_interrupt() -> None:
    pcm, truth = line(None)
    heard = listen(create(Config()), frames(pcm.tobytes()))
    after = [report - start for report, (_, start, _) in zip(heard.delays, truth, strict=True)]
    assert np.median(after) <= 150
    assert max(after) <= 220


def test_wideband_hears_the_same() -> None:
    pcm, truth = line(None, 16000)
    heard = listen(create(Config()), frames(pcm.tobytes(), 16000))
    assert len(heard.spans) == len(truth)
    assert abs(np.median([h[0] - t[1] for h, t in zip(heard.spans, truth, strict=True)])) < 20
    assert abs(np.median([h[1] - t[2] for h, t in zip(heard.spans, truth, strict=True)])) < 30


@pytest.mark.parametrize("ptime_ms", [10, 30, 40, 50, 60])
def test_any_packet_time_hears_the_same(ptime_ms: int) -> None:
    pcm = line(None)[0][:160000].tobytes()
    usual = listen(create(Config()), frames(pcm)).spans
    other = listen(create(Config()), frames(pcm, ptime_ms=ptime_ms)).spans
    assert len(usual) == len(other) > 5
    assert np.allclose(usual, other, atol=ptime_ms + 20)


def noise(kind: str) -> npt.NDArray[np.float64]:
    rng, t = np.random.default_rng(3), np.arange(8000 * 30) / 8000
    white = rng.standard_normal(len(t))
    match kind:
        case "digital silence":
            return np.zeros(len(t))
        case "faint":
            return white * 3
        case "loud":
            return white * 500
        case "hum":
            return 1000 * np.sin(2 * np.pi * 50 * t) + 600 * np.sin(2 * np.pi * 150 * t) + white * 50
        case "tone":
            return 3000 * np.sin(2 * np.pi * 440 * t)
        case _:
            return white * np.where(t % 3 < 0.04, 6000, 5)


@pytest.mark.parametrize("kind", ["digital silence", "faint", "loud", "hum", "tone", "clicks"])
def test_a_line_without_speech_reports_none_from_its_first_frame_on(kind: str) -> None:
    pcm = over(noise(kind), 8000)
    assert listen(create(Config()), frames(pcm.tobytes())) == Heard()


def test_the_detector_alone_would_take_a_noisy_line_for_speech() -> None:
    """Why frames must stand out: without it, 20 dB of noise is speech for four seconds."""
    pcm, truth = line(20)
    alone = listen(create(Config(margin_db=0)), frames(pcm.tobytes()))
    assert alone.spans[0][0] < truth[0][1] - 500


def test_a_noise_that_begins_is_given_up_within_its_memory() -> None:
    quiet = np.concatenate([np.zeros(40000), np.random.default_rng(0).standard_normal(80000) * 300])
    heard = listen(create(Config()), frames(over(quiet, 8000).tobytes()))
    assert heard.still is None
    assert sum(end - start for start, end in heard.spans) <= 1200


def test_each_call_has_ears_of_its_own() -> None:
    """A detector that has listened to a noisy line is deaf on a good one; a new one is not."""
    pcm, _ = line(None)
    before = listen(create(Config()), frames(pcm.tobytes()))
    listen(create(Config()), frames(line(10)[0].tobytes()))
    assert listen(create(Config()), frames(pcm.tobytes())) == before


def test_stop_says_how_long_the_silence_has_lasted() -> None:
    pcm, _ = line(None)
    for hangover in (100, 200, 600):
        detector = create(Config(hangover_ms=hangover))
        stops = [
            e.ago_ms for f in frames(pcm.tobytes()) if isinstance(e := detector.process(f), SpeechStopped)
        ]
        assert set(stops) == {hangover}


def without(audio: Iterator[AudioFrame], start_ms: float, end_ms: float) -> Iterator[AudioFrame]:
    return (f for f in audio if not start_ms <= 1000 * f.pts / f.rate < end_ms)


def test_packets_that_never_came_count_as_silence() -> None:
    """A phone with silence suppression sends nothing in a pause; the first packet after it tells."""
    pcm, truth = line(None)
    _, _, end = truth[0]
    _, start, _ = truth[1]
    heard = listen(create(Config()), without(frames(pcm.tobytes()), end + 40, start - 40))
    assert len(heard.spans) == len(truth)
    assert heard.spans[0][1] <= start
    short = listen(create(Config()), without(frames(pcm.tobytes()), truth[12][1] + 200, truth[12][1] + 260))
    assert len(short.spans) == len(truth)  # three lost packets in mid-word split nothing


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config(mode=4), "mode is 4, outside of 0 to 3"),
        (Config(hangover_ms=10), "hangover_ms is 10, outside of 60 to 1000"),
        (Config(start_ms=200, window_ms=100), "start_ms 200 does not fit into window_ms 100"),
    ],
)
def test_bad_settings_are_named(config: Config, message: str) -> None:
    with pytest.raises(ProviderError, match=message):
        create(config)


def test_a_rate_it_cannot_hear_is_named() -> None:
    with pytest.raises(ProviderError, match="11025 Hz, only at 8000"):
        create(Config()).process(AudioFrame(bytes(440), 11025, 0))


def street(colour: str, level_dbov: int, seed: int) -> bytes:
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(8000 * 8))
    if colour == "pink":
        spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    wave = np.fft.irfft(spectrum)
    wave *= 32768 * 10 ** (level_dbov / 20) / np.sqrt(np.mean(wave**2))
    return np.round(wave).astype("<i2").tobytes()


@pytest.mark.parametrize("colour, most", [("white", 0), ("pink", 1)])
@pytest.mark.parametrize("level_dbov", [-54, -44, -39])
def test_noise_from_the_first_packet_is_nobody_speaking(colour: str, most: int, level_dbov: int) -> None:
    """Pink noise, as of wind and traffic, varies like speech: a young detector took it for that, always.
    Before the first packet the jitter buffer gives nothing: no quiet line that noise stands out from."""
    starts = 0
    for seed in range(12):
        detector, pcm = create(Config()), bytes(3 * 320) + street(colour, level_dbov, seed)
        line = [AudioFrame(pcm[at : at + 320], 8000, at // 2) for at in range(0, len(pcm), 320)]
        starts += sum(isinstance(detector.process(frame), SpeechStarted) for frame in line)
    assert starts <= most
