"""A worker process: decodes what the parent sends, one message after the other, until its end closes.

Started by media/workers/process.py with the number of its socket. SIGINT and SIGTERM are ignored,
since service managers send them to all processes of a service, and calls are still being drained then.
"""

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from media.stt.sphinx.config import Config
from media.stt.sphinx.ears import CMUDICT, Ears, Heard
from media.stt.sphinx.errors import DomainError
from media.stt.sphinx.lexicon import Lexicon
from media.stt.sphinx.plan import Plan, Thresholds, build
from media.stt.sphinx.wire import COUNT, OPEN, Kind, domain_from_json
from media.workers.wire import Splitter, message

_RECEIVE = 65536  # bytes


@dataclass(slots=True)
class _Flow:
    """A prepared domain, and the ears that nobody uses at the moment, by rate."""

    plan: Plan
    idle: dict[int, list[Ears]] = field(default_factory=dict)


@dataclass(slots=True)
class _Utterance:
    flow: _Flow
    ears: Ears
    taken: int = 0  # bytes
    looked: int = 0  # bytes at the last look for a partial
    told: Heard | None = None  # the last partial
    cpu_s: float = 0.0


class Worker:
    """Handles the messages of one parent. `send` gets what goes back."""

    def __init__(self, config: Config, send: Callable[[bytes], None]) -> None:
        self._config, self._send = config, send
        self._lexicon = Lexicon(CMUDICT)
        self._thresholds = Thresholds(config.reject, config.digits_reject, config.free_reject)
        self._flows: dict[int, _Flow] = {}
        self._utterances: dict[int, _Utterance] = {}

    def handle(self, kind: Kind, number: int, payload: bytes) -> None:
        """One message."""
        match kind:
            case Kind.AUDIO:
                self._attempt(number, lambda u: self._audio(number, u, payload))
            case Kind.BEGIN:
                self._begin(number, **json.loads(payload))
            case Kind.FINISH:
                self._attempt(number, lambda u: self._finish(number, u))
            case Kind.CANCEL:
                self._attempt(number, lambda u: self._cancel(number, u))
            case Kind.PREPARE:
                self._prepare(number, payload)
            case Kind.DROP:
                self._flows.pop(number, None)
            case _:
                raise ValueError(f"a worker does not take {kind.name}")

    def build_spare(self) -> bool:
        """Build one decoder set ahead, if a flow in use has none left. False: nothing to do."""
        for flow in self._flows.values():
            for rate, idle in flow.idle.items():
                if len(idle) < self._config.spare_ears:
                    idle.append(Ears(flow.plan, self._config, rate))
                    return True
        return False

    def _prepare(self, number: int, payload: bytes) -> None:
        try:
            plan = build(domain_from_json(payload), self._thresholds, self._lexicon.dictionary)
            # Built at once, so that what pocketsphinx refuses is told now and not to the first caller.
            self._flows[number] = _Flow(plan, {8000: [Ears(plan, self._config, 8000)]})
        except (DomainError, RuntimeError, ValueError) as e:
            self._send(message(Kind.FAILED, number, str(e).encode()))
        else:
            self._send(message(Kind.PREPARED, number))

    def _begin(self, number: int, domain: int, state: int, rate: int, mean: str | None) -> None:
        start = time.process_time()
        flow = self._flows.get(domain)
        if flow is None:
            self._fail(number, f"domain {domain} is not prepared")
            return
        try:
            idle = flow.idle.setdefault(rate, [])
            ears = idle.pop() if idle else Ears(flow.plan, self._config, rate)
            ears.begin(flow.plan.readers.get(state) or flow.plan.readers[OPEN], mean)
        except (RuntimeError, ValueError) as e:
            self._fail(number, str(e))
            return
        self._utterances[number] = _Utterance(flow, ears, cpu_s=time.process_time() - start)

    def _attempt(self, number: int, work: Callable[[_Utterance], None]) -> None:
        """Whatever pocketsphinx dislikes about an utterance ends that utterance alone."""
        utterance = self._utterances.get(number)
        if utterance is None:
            return
        try:
            work(utterance)
        except (RuntimeError, ValueError) as e:
            self._utterances.pop(number, None)  # and its ears, which may be in any state
            self._fail(number, str(e))

    def _fail(self, number: int, error: str) -> None:
        self._send(message(Kind.FINAL, number, json.dumps({"error": error}).encode()))

    def _audio(self, number: int, utterance: _Utterance, pcm: bytes) -> None:
        start = time.process_time()
        utterance.ears.hear(pcm)
        utterance.taken += len(pcm)
        out = message(Kind.TAKEN, number, COUNT.pack(utterance.taken))
        if utterance.taken - utterance.looked >= utterance.ears.rate * 2 * self._config.partial_ms // 1000:
            utterance.looked = utterance.taken
            heard = utterance.ears.partial()
            told = utterance.told
            if heard.text and (told is None or (heard.text, heard.complete) != (told.text, told.complete)):
                utterance.told = heard
                fields = {"text": heard.text, "confidence": heard.confidence}
                fields |= {"complete": heard.complete, "fragment": not heard.whole}
                out += message(Kind.PARTIAL, number, json.dumps(fields).encode())
        utterance.cpu_s += time.process_time() - start
        self._send(out)

    def _finish(self, number: int, utterance: _Utterance) -> None:
        start = time.process_time()
        heard, mean = utterance.ears.finish()
        utterance.cpu_s += time.process_time() - start
        del self._utterances[number]
        fields: dict[str, Any] = {
            "text": heard.text,
            "confidence": heard.confidence,
            "rejected": heard.rejected,
            # Noise and strangers' voices in the background must not colour the caller's next utterance.
            "mean": mean if heard.text else None,
            "cpu_s": utterance.cpu_s,
        }
        self._send(message(Kind.FINAL, number, json.dumps(fields).encode()))
        utterance.flow.idle[utterance.ears.rate].append(utterance.ears)

    def _cancel(self, number: int, utterance: _Utterance) -> None:
        del self._utterances[number]
        utterance.ears.forget()
        utterance.flow.idle[utterance.ears.rate].append(utterance.ears)


def serve(sock: socket.socket) -> None:
    """Until the parent closes its end."""
    splitter = Splitter()
    worker: Worker | None = None
    while True:
        waits = not (worker is not None and not readable(sock) and worker.build_spare())
        if not waits:
            continue
        data = sock.recv(_RECEIVE)
        if not data:
            return
        for kind, number, payload in splitter.feed(data):
            if worker is None:
                config = Config(**json.loads(payload))
                os.nice(config.nice)
                worker = Worker(config, sock.sendall)
                sock.sendall(message(Kind.READY))
            else:
                worker.handle(Kind(kind), number, payload)


def readable(sock: socket.socket) -> bool:
    """Whether the parent has said something."""
    return bool(select.select([sock], [], [], 0)[0])


def main() -> None:
    """Entry of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sock = socket.socket(fileno=int(sys.argv[1]))
    try:
        serve(sock)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone, and with it whoever wanted to know


if __name__ == "__main__":
    main()
