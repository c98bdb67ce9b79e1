"""The settings that the benches give their server are settings that there are."""

from pathlib import Path

import pytest

from bench.server import environment, streaming
from voicegw.config import load_config


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("more", [{}, streaming()], ids=["calls", "streams"])
def test_benches_start_a_server_that_takes_their_settings(
    tmp_path: Path, real: bool, more: dict[str, str]
) -> None:
    settings = environment(0, 0, str(tmp_path), real=real, srtp=not more) | more
    config = load_config(None, settings)
    assert config.limits.max_calls == 500 and config.limits.lateness_ms == 0
