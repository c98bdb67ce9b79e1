"""The server under test: the real application, with engines that cost nothing or (`--real`) as it comes.

Ears that know the answer, a voice that is a 4 s tone, the shortest flow, 200 ms of speech to start and of
silence to stop; everything else (SIP, RTP, media sockets, VAD, turn taking, playout, recording, timeline,
database) is what `voicegw run` runs.

    .venv/bin/python -m bench.server --port 8765        ready ws://127.0.0.1:8765/twilio/media
    .venv/bin/python -m bench.server --sip-port 15060 --http-port 18080 --data-dir /tmp/bench

The first speaks Twilio Media Streams with any client on this machine, unsigned. It prints that one line on
stdout when calls can come, and stops on SIGTERM or Ctrl-C.
"""

import argparse
import os
import re
import sys
import tempfile
from contextlib import redirect_stdout
from io import TextIOBase
from pathlib import Path

HERE = Path(__file__).parent
READY = re.compile(r"voicegw ready: \S+ http(://\S+)/")


def environment(
    sip_port: int, http_port: int, data_dir: str, *, real: bool, srtp: bool = False
) -> dict[str, str]:
    """Settings of the server, as a user would give them."""
    settings = {
        "VOICEGW_SIP__HOST": "127.0.0.1",
        "VOICEGW_SIP__PORT": str(sip_port),
        "VOICEGW_HTTP__PORT": str(http_port),
        "VOICEGW_DATA_DIR": data_dir,
        "VOICEGW_LIMITS__MAX_CALLS": "500",
        "VOICEGW_LIMITS__LATENESS_MS": "0",  # lateness is measured, not spared: no call is refused for it
        "VOICEGW_LOG__LEVEL": "warning",
    }
    if srtp:
        settings |= {"VOICEGW_RTP__SRTP": "required", "VOICEGW_RTP__SRTP_NEEDS_TLS": "false"}
    if not real:
        settings |= {
            "VOICEGW_FLOWS": f'["{HERE / "flow.yaml"}"]',
            "VOICEGW_STT": '{"engine": "bench.fake_stt"}',
            "VOICEGW_TTS": '{"engine": "bench.fake_tts"}',
        }
    return settings


def streaming() -> dict[str, str]:
    """What measuring media sockets needs besides: the job that other servers are measured at."""
    return {
        "VOICEGW_CARRIERS__TWILIO__ACCOUNT_SID": "AC0",
        "VOICEGW_CARRIERS__TWILIO__CHECK_SIGNATURES": "false",
        "VOICEGW_CARRIERS__TWILIO__API_URL": "http://127.0.0.1:9",  # nobody: no request may leave
        "VOICEGW_CARRIERS__TWILIO__REST__TRIES": "1",
        "VOICEGW_VAD": '{"engine": "webrtc", "start_ms": 200, "window_ms": 240, "hangover_ms": 200}',
        "VOICEGW_TURN__END_SILENCE_MS": "200",
        "VOICEGW_TURN__COMPLETE_SILENCE_MS": "200",
        "VOICEGW_TURN__INCOMPLETE_SILENCE_MS": "200",
        "VOICEGW_TURN__BARGE_IN_MS": "200",
        "VOICEGW_TURN__INTERRUPT": "speech",
        "VOICEGW_TURN__RESUME_MS": "0",
    }


class _Ready(TextIOBase):
    """Turns voicegw's ready line into that of the bench."""

    def __init__(self, out: TextIOBase) -> None:
        self._out = out

    def write(self, text: str) -> int:
        """All that the server prints is this line."""
        self._out.write(READY.sub(r"ready ws\1/twilio/media", text))
        return len(text)

    def flush(self) -> None:
        """At once."""
        self._out.flush()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, help="measure media sockets, on this port")
    parser.add_argument("--sip-port", type=int, default=15060)
    parser.add_argument("--http-port", type=int, default=18080)
    parser.add_argument("--data-dir", default="", help="where calls are kept; default: forgotten")
    parser.add_argument("--real", action="store_true", help="engines and flow of the defaults")
    parser.add_argument("--srtp", action="store_true", help="encrypted audio only, keys over UDP")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="voicegw-bench-") as folder:
        data, sip, http = options.data_dir or folder, options.sip_port, options.http_port
        if options.port is not None:
            sip, http = 0, options.port
        os.environ.update(environment(sip, http, data, real=options.real, srtp=options.srtp))
        if options.port is not None:
            os.environ.update(streaming())
        from voicegw.cli import main as voicegw  # noqa: PLC0415 - reads the environment

        sys.argv = ["voicegw", "run"]
        with redirect_stdout(_Ready(sys.stdout) if options.port is not None else sys.stdout):  # type: ignore[arg-type]
            voicegw()


if __name__ == "__main__":
    main()
