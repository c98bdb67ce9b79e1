"""A server of our own to call: `voicegw run` on free ports and, unless told otherwise, fresh data."""

import asyncio
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from voicegw.errors import StartError

START_S = 60.0  # the first start builds the recogniser's graphs
STOP_S = 60.0
READY = re.compile(r"voicegw ready: (sip:\S+) (http://\S+)\n")
TAIL = 2000  # characters of what a server that did not start said


@dataclass(frozen=True, slots=True)
class Started:
    """Where it is, and where its data lies."""

    uri: str
    url: str
    data: Path
    pid: int


@asynccontextmanager
async def started(config: Path | None, data: Path | None = None) -> AsyncIterator[Started]:
    """A server while the block lasts; without `data` its calls go with it. Raises StartError."""
    with tempfile.TemporaryDirectory(prefix="voicegw-") as temporary:
        folder = data or Path(temporary)
        arguments = ["--config", str(config)] if config is not None else []
        env = os.environ | {
            "VOICEGW_SIP__PORT": "0",
            "VOICEGW_HTTP__PORT": "0",
            "VOICEGW_HTTP__TOKEN": "",
            "VOICEGW_DATA_DIR": str(folder),
            "VOICEGW_DRAIN__LIMIT_S": "0",
        }
        with (Path(temporary) / "stderr").open("w+") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", "from voicegw.cli import main; main()", "run", *arguments),
                env=env,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
            )
            try:
                match = READY.fullmatch(await _first_line(process))
                if match is None:
                    stderr.seek(0)
                    raise StartError(f"the server did not start: {stderr.read()[-TAIL:].strip()}")
                yield Started(match[1], match[2], folder, process.pid)
            finally:
                await _stop(process)


async def _first_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            line = (await process.stdout.readline()).decode()
            if not line:
                await process.wait()  # it has said why, and ends
            return line
    except TimeoutError:
        return ""


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
