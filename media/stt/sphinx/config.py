"""Settings of the embedded recogniser, for the engine and for its workers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Config:
    """Defaults as measured with telephone speech; see bench/speech.py."""

    workers: int = 0
    """Worker processes. 0: one for each core this process may use; more gain nothing."""
    max_streams: int = 32
    """Calls per worker. A core decodes about 12 people who all talk at once; callers talk less than 40 %
    of the time. Above it, new calls are refused instead of all calls becoming slow."""
    mllr: bool = True
    """Adapt the acoustic model to the telephone band (8 kHz calls only). Off: 3 times the word errors."""
    reject: float = -0.032
    """Least log-likelihood ratio of an answer (phrases, grammar) against the free phone loop, without the
    penalties for words and pauses, over the square root of its 10 ms frames of speech: so it hangs neither on
    the silence around a word nor on its length. Together with `unexplained` it refuses 0 % of what recorded
    people rightly say, 1 % of synthetic voices, and of foreign speech 98 % in the demo flow, 94 % where it is
    as long as the phrases. Nearer 0 rejects more; -1 accepts everything."""
    digits_reject: float = -0.0023
    """The same for strings of digits, per frame: 2 % of right ones and 93 % of others fall below."""
    free_reject: float = -0.0027
    """The same for free sentences (n-gram), per frame: half-way between sentences of the domain and other
    speech."""
    unexplained: float = 0.3
    """Share of the loud speech, 0..1, that an answer may leave out as silence. A grammar with a short phrase
    hears "goodbye" and then 3 s of silence in any long sentence; without this 6-20 % of foreign sentences
    pass the ratio, with it 1-2 %. Right answers leave out at most 0.05, 0.25 on a noisy line."""
    confidence_scale: float = 0.0003
    """Confidence = 1 / (1 + exp(-(ratio - threshold) / scale)): 0.5 at the threshold, 0.98 for a typical
    right answer. Larger is flatter. For ratios per frame."""
    answer_scale: float = 0.004
    """The same for answers, whose ratio is per square root of frames."""
    phrase_wip: float = 1e-2
    """Word insertion probability in grammars, 0..1. Under 1e-3 short words get lost (2.9 % -> 7.9 % errors);
    over 0.1 they multiply. Digits of a fixed count use it too."""
    digits_wip: float = 1e-4
    """The same where the count of digits is open: 30 % errors at 1e-2 and 13 % at 1e-4 on recorded digits."""
    free_weight: float = 9.5
    """Weight of the n-gram against the sound, 1..20."""
    pre_roll_ms: int = 300
    """Audio from before `begin` that is heard too. The detector needs 60-100 ms, soft onsets more."""
    min_speech_ms: int = 100
    """An utterance shorter than this (without its pre-roll) is a click: an empty final at once."""
    max_utterance_ms: int = 60_000
    """Audio kept of one utterance, against callers who never stop. What comes later is dropped, counted."""
    partial_ms: int = 60
    """Look for a new partial after this much audio, 20..1000. Each look costs 0.05 ms."""
    batch_ms: int = 40
    """Audio sent to the worker at once, 20..200. Shorter costs the parent more, longer delays partials."""
    window_ms: int = 1_000
    """Audio that a worker may have before it has answered for it; the rest waits in the parent."""
    queue_ms: int = 10_000
    """Audio of one utterance that waits in the parent for a slow or restarting worker; beyond it the
    oldest is dropped and counted."""
    final_timeout_ms: int = 5_000
    """A final that is later than this is given up: an empty one goes out. Calls wait 2 s by default."""
    hang_ms: int = 5_000
    """A worker that has work and says nothing for so long is killed and replaced. It answers every
    `batch_ms` of audio, which takes it 4 ms; less than 2 s would kill workers on a stalled machine."""
    prepare_timeout_s: float = 60.0
    """The same while it starts or builds a domain. A grammar of 2000 phrases takes 2 s."""
    max_replays: int = 2
    """An utterance (or domain) during which this many workers died is not given to another one."""
    restart_max_s: float = 10.0
    """A dead worker is replaced at once; one that keeps dying after 0.25, 0.5, 1 ... up to so many s."""
    max_domains: int = 32
    """Flows kept ready; the one used longest ago makes room. 7-20 MB for each in each worker."""
    spare_ears: int = 2
    """Decoder sets built ahead in idle time for the next caller who begins to talk, per flow and worker."""
    nice: int = 5
    """Niceness of the workers: the 20 ms audio ticks of the parent go first. 0..19."""
