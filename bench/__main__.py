"""The measurements, one after the other: `make bench`, about 15 minutes on an idle machine.

    make bench                      everything
    make bench ARGS=--quick         a look, 2 minutes: short runs, figures of little weight
    .venv/bin/python -m bench.calls --help      one of them, with its options

By themselves only: bench.soak and bench.crash (minutes), bench.concealment, bench.talkoff.

Read ratios and medians, not third digits: machines are shared, and the same run differs by up to 40 %.
"""

import argparse
import subprocess
import sys

FULL = [
    ["bench.calls", "--calls", "1,16,50,100", "--seconds", "60"],
    ["bench.calls", "--real", "--cores", ",", "--calls", "1,8,16", "--seconds", "40", "--plan", "A"],
    ["bench.streams", "--calls", "1,6,16,40"],
    ["bench.streams", "--calls", "6", "--delay", "150", "--jitter", "30"],
    ["bench.rtp_legs", "--calls", "16,100", "--seconds", "20"],
    ["bench.setups"],
    ["bench.webrtc", "--calls", "1,10", "--seconds", "20"],
    ["bench.esl", "--calls", "6000"],
    ["bench.recorder"],
    ["bench.mixing"],
    ["bench.speech"],
    ["bench.turns"],
    ["bench.voices"],
]
QUICK = [
    ["bench.calls", "--calls", "16,50", "--seconds", "15"],
    ["bench.calls", "--real", "--cores", ",", "--calls", "4", "--seconds", "20", "--plan", "A"],
    ["bench.streams", "--calls", "6"],
    ["bench.recorder"],
]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    failed = []
    for arguments in QUICK if parser.parse_args().quick else FULL:
        print(f"\n== python -m {' '.join(arguments)}", flush=True)
        if subprocess.run([sys.executable, "-m", *arguments], check=False).returncode:
            failed.append(arguments[0])
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
