"""A real Asterisk with a dialplan of the test's, its files in a folder of its own. It is called, and calls,
by Local channels: no telephone, no port but those that a test asks for."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.tools import lacking

UP_S = 10.0


def need_asterisk() -> str:
    """Its program. Debian 12 has none, so a build machine may do without."""
    found = shutil.which("asterisk")
    if found is None:
        lacking("Asterisk 20 or later, which Debian 12 has not")
    return found


class Asterisk:
    """A running one."""

    def __init__(self, program: str, folder: Path) -> None:
        self.folder = folder
        self._command = [program, "-C", str(folder / "asterisk.conf")]

    def cli(self, command: str) -> str:
        """A command of its console."""
        done = subprocess.run(
            [*self._command, "-rx", command], capture_output=True, text=True, timeout=20, check=False
        )
        return done.stdout + done.stderr

    def channels(self) -> int:
        """How many there are."""
        return int(self.cli("core show channels count").split(" ")[0])

    def until_idle(self, limit_s: float) -> None:
        """Wait until all calls are over."""
        deadline = time.monotonic() + limit_s
        while self.channels():
            assert time.monotonic() < deadline, self.cli("core show channels verbose") + self.log
            time.sleep(0.2)

    @property
    def log(self) -> str:
        return (self.folder / "log" / "messages").read_text()[-4000:]


@contextmanager
def asterisk(folder: Path, dialplan: str, **files: str) -> Iterator[Asterisk]:
    """Start one. `files`: further configuration, by name without `.conf`."""
    program = need_asterisk()
    home = Path(program).resolve().parent.parent
    for name in ("log", "run", "lib", "db", "keys", "spool"):
        (folder / name).mkdir(parents=True)
    modules = next(
        p for p in (home / "lib" / "asterisk" / "modules", Path("/usr/lib/asterisk/modules")) if p.exists()
    )
    places = {"astetcdir": folder, "astmoddir": modules, "astvarlibdir": home / "var/lib/asterisk"}
    places |= {
        "astdbdir": folder / "db",
        "astkeydir": folder / "keys",
        "astdatadir": home / "var/lib/asterisk",
    }
    places |= {"astagidir": folder / "lib", "astspooldir": folder / "spool", "astrundir": folder / "run"}
    places |= {"astlogdir": folder / "log"}
    files |= {
        "asterisk": "[directories]\n" + "".join(f"{n} => {p}\n" for n, p in places.items()),
        "extensions": dialplan,
        "modules": "[modules]\nautoload = yes\n",
        "logger": "[general]\n[logfiles]\nmessages => notice,warning,error,verbose(3)\n",
    }
    for name, text in files.items():
        (folder / f"{name}.conf").write_text(text)
    made = Asterisk(program, folder)
    process = subprocess.Popen(
        [program, "-f", "-C", str(folder / "asterisk.conf")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + UP_S
        while "fully booted" not in made.cli("core waitfullybooted"):
            assert time.monotonic() < deadline and process.poll() is None, made.cli("core show version")
            time.sleep(0.1)
        yield made
    finally:
        process.terminate()
        process.wait(10)
