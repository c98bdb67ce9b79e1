"""baresip as a telephone: a WAV file is its microphone, and it is driven over its own control port."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIG = """\
module_path /usr/lib/baresip/modules
module g711.so
module opus.so
module g722.so
module aufile.so
module sndfile.so
snd_path {folder}
module ctrl_tcp.so
module_tmp account.so
module_app menu.so
sip_listen 127.0.0.1:{sip_port}
audio_source aufile,{folder}/said.wav
audio_player nothing
audio_alert aufile,{folder}/alert.wav
ctrl_tcp_listen 127.0.0.1:{port}
"""
SECURE = """\
module srtp.so
sip_cafile {ca_file}
sip_verify_server yes
"""


def free_sip_port() -> int:
    """A port that baresip can have by UDP and TCP; it wants the next for TLS too."""
    for _ in range(50):
        try:
            with (
                socket.create_server(("127.0.0.1", 0)) as free,
                socket.create_server(("127.0.0.1", free.getsockname()[1] + 1)),
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
            ):
                port = int(free.getsockname()[1])
                datagrams.bind(("127.0.0.1", port))
                return port
        except (OSError, OverflowError):
            continue
    raise AssertionError("no two free ports side by side")


class Baresip:
    """A running baresip. `said.wav` in its folder is what it says."""

    def __init__(
        self,
        folder: Path,
        caller: str,
        ca_file: str = "",
        codec: str = "pcmu",
        *,
        answers: bool = False,
        registers: tuple[str, str] | None = None,
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        sip_port = free_sip_port()
        self.folder = folder
        self.uri = f"sip:{caller}@127.0.0.1:{sip_port}"
        config = CONFIG.format(folder=folder, port=port, sip_port=sip_port)
        transport, encryption = "udp", ""
        if ca_file:
            config += SECURE.format(folder=folder, ca_file=ca_file)
            transport, encryption = "tls", ";mediaenc=srtp-mand"
        (folder / "config").write_text(config)
        host, registration = "127.0.0.1", ";regint=0"
        if registers is not None:
            host, password = registers
            registration = f";auth_pass={password};regint=60"
        (folder / "accounts").write_text(
            f"<sip:{caller}@{host};transport={transport}>{registration};audio_codecs={codec}"
            f"{';answermode=auto' if answers else ''}{encryption}\n"
        )
        (folder / "contacts").write_text("")
        self._log = folder / "log"
        with self._log.open("w") as log:
            command = ["baresip", "-f", str(folder)]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._control = self._connected(port)
        self.events: list[str] = []
        self._unread = b""

    def _connected(self, port: int) -> socket.socket:
        for _ in range(100):
            assert self.process.poll() is None, self._log.read_text()
            try:
                control = socket.create_connection(("127.0.0.1", port))
                control.settimeout(0.05)
                return control
            except OSError:
                time.sleep(0.1)
        raise AssertionError(self._log.read_text())

    def command(self, name: str, argument: str = "") -> None:
        """One of its long commands: dial, sndcode (keys), hangup, quit. A netstring of JSON."""
        message = json.dumps({"command": name, "params": argument, "token": name})
        self._control.sendall(f"{len(message)}:{message},".encode())

    @property
    def heard(self) -> Path:
        """What it has heard in its one call."""
        (path,) = self.folder.glob("dump-*-dec.wav")
        return path

    def wait(self, seconds: float, event: str = "") -> bool:
        """So long, or until this happens."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._read()
            if event and event in self.events:
                return True
        return False

    def _read(self) -> None:
        try:
            self._unread += self._control.recv(65536)
        except TimeoutError:
            return
        while b":" in self._unread:
            length, _, rest = self._unread.partition(b":")
            if len(rest) <= int(length):
                return
            message, self._unread = json.loads(rest[: int(length)]), rest[int(length) + 1 :]
            if "type" in message:
                self.events.append(message["type"])


@contextmanager
def baresip(
    folder: Path,
    caller: str,
    ca_file: str = "",
    codec: str = "pcmu",
    *,
    answers: bool = False,
    registers: tuple[str, str] | None = None,
) -> Iterator[Baresip]:
    """Ended with the block. With a `ca_file` it speaks TLS with servers of that authority, and SRTP only.
    `registers`: host and port of a registrar, and the password there."""
    phone = Baresip(folder, caller, ca_file, codec, answers=answers, registers=registers)
    try:
        yield phone
    finally:
        phone.process.terminate()
        try:
            phone.process.wait(10)
        except subprocess.TimeoutExpired:  # it waits for somebody who has gone
            phone.process.kill()
            phone.process.wait(10)
