"""Where the extra `webrtc` is not installed."""

import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, logging, sys
sys.modules[sys.argv[1]] = None
from voicegw.app import App
from voicegw.config import Config
logging.basicConfig(format="%(message)s: %(missing)s; %(hint)s")
print(asyncio.run(App(Config(), {})._browser(None, None)))
"""


@pytest.mark.parametrize("package", ["av", "aioice", "pylibsrtp"])
def test_the_server_starts_without_the_softphone_and_says_what_to_install(package: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, package], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
    assert done.stderr.startswith(f"no softphone: {package}; pip install 'voicegw[webrtc]'")
