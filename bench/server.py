"""The server under test: the real application, with engines that cost nothing or (`--real`) as it comes.

Ears that know the answer, a voice that is a 4 s tone, the shortest flow; everything else (SIP, RTP, VAD,
turn taking, playout, recording, timeline, database) is what `voicegw run` runs.

    .venv/bin/python -m bench.server --sip-port 15060 --http-port 18080 --data-dir /tmp/bench
"""

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent


def environment(sip_port: int, http_port: int, data_dir: str, *, real: bool) -> dict[str, str]:
    """Settings of the server, as a user would give them."""
    settings = {
        "VOICEGW_SIP__HOST": "127.0.0.1",
        "VOICEGW_SIP__PORT": str(sip_port),
        "VOICEGW_HTTP__PORT": str(http_port),
        "VOICEGW_DATA_DIR": data_dir,
        "VOICEGW_LIMITS__MAX_CALLS": "500",
        "VOICEGW_LOG__LEVEL": "warning",
    }
    if not real:
        settings |= {
            "VOICEGW_FLOWS": f'["{HERE / "flow.yaml"}"]',
            "VOICEGW_STT": '{"engine": "bench.fake_stt"}',
            "VOICEGW_TTS": '{"engine": "bench.fake_tts"}',
        }
    return settings


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sip-port", type=int, default=15060)
    parser.add_argument("--http-port", type=int, default=18080)
    parser.add_argument("--data-dir", default="/tmp/voicegw-bench")
    parser.add_argument("--real", action="store_true", help="engines and flow of the defaults")
    options = parser.parse_args()
    os.environ.update(environment(options.sip_port, options.http_port, options.data_dir, real=options.real))
    from voicegw.cli import main as voicegw  # noqa: PLC0415 - reads the environment

    sys.argv = ["voicegw", "run"]
    voicegw()


if __name__ == "__main__":
    main()
