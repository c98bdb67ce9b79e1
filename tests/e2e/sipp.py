"""sipp as callers and as those who are called, with scenarios put together from steps.

run_sipp(folder, Scenario("dave").call().pause(500).key("1").bye(), port, "-m", "100")
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HEAD = """Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:{caller}@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:bot@[remote_ip]>{tag}
Call-ID: [call_id]
CSeq: {cseq} {method}
Contact: <sip:{caller}@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
{content}Content-Length: [len]
"""
SDP = """
v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=sendrecv"""
ANSWER = """SIP/2.0 {status} {reason}
[last_Via:]
[last_From:]
[last_To:];tag=[call_number]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0
"""
UNTIL_EXIT = 'retrans="500"'


class Scenario:
    """Steps of one call, as sipp's XML. Each method adds one and returns the scenario."""

    def __init__(self, caller: str = "sipp") -> None:
        self._caller, self._cseq, self._steps = caller, 1, list[str]()

    def call(self) -> "Scenario":
        """INVITE, 200, ACK."""
        self._request("INVITE", "Content-Type: application/sdp\n", SDP)
        self._steps += ['<recv response="100" optional="true"/>', '<recv response="180" optional="true"/>']
        self._steps.append('<recv response="200"/>')
        self._request("ACK")
        return self

    def refused(self, status: int) -> "Scenario":
        """INVITE, refused, ACK."""
        self._request("INVITE", "Content-Type: application/sdp\n", SDP)
        self._steps += ['<recv response="100" optional="true"/>', '<recv response="180" optional="true"/>']
        self._steps.append(f'<recv response="{status}"/>')
        self._request("ACK")
        return self

    def play(self, file: Path) -> "Scenario":
        """Raw mu-law, again and again, until the call is over."""
        self._steps.append(f'<nop><action><exec rtp_stream="{file},-1,0"/></action></nop>')
        return self

    def pause(self, ms: int) -> "Scenario":
        self._steps.append(f'<pause milliseconds="{ms}"/>')
        return self

    def key(self, key: str) -> "Scenario":
        """By INFO."""
        self._cseq += 1
        self._request("INFO", "Content-Type: application/dtmf-relay\n", f"\nSignal={key}\nDuration=160")
        self._steps.append('<recv response="200"/>')
        return self

    def bye(self) -> "Scenario":
        """We hang up."""
        self._cseq += 1
        self._request("BYE")
        self._steps.append('<recv response="200"/>')
        return self

    def hung_up(self, limit_ms: int) -> "Scenario":
        """The far end hangs up."""
        self._steps.append(f'<recv request="BYE" timeout="{limit_ms}"/>')
        self._send(ANSWER.format(status=200, reason="OK").replace(";tag=[call_number]", ""))
        return self

    def declines(self, method: str, status: int, limit_ms: int) -> "Scenario":
        """The far end asks for something in the dialog, and does not get it."""
        self._steps.append(f'<recv request="{method}" timeout="{limit_ms}"/>')
        self._send(ANSWER.format(status=status, reason="Declined").replace(";tag=[call_number]", ""))
        return self

    def refuse(self, status: int, reason: str, ring_ms: int = 0) -> "Scenario":
        """For one who is called: ring, refuse."""
        self._steps.append('<recv request="INVITE"/>')
        self._send(ANSWER.format(status=180, reason="Ringing"))
        if ring_ms:
            self.pause(ring_ms)
        self._send(ANSWER.format(status=status, reason=reason), UNTIL_EXIT)
        self._steps.append('<recv request="ACK"/>')
        return self

    def cancelled(self) -> "Scenario":
        """For one who is called: ring until the caller gives up."""
        self._steps.append('<recv request="INVITE"/>')
        self._send(ANSWER.format(status=180, reason="Ringing"))
        self._steps.append('<recv request="CANCEL" timeout="30000"/>')
        self._send(ANSWER.format(status=200, reason="OK"))
        terminated = ANSWER.format(status=487, reason="Request Terminated")
        self._send(terminated.replace("[last_CSeq:]", "CSeq: [last_cseq_number] INVITE"))
        return self

    def _request(self, method: str, content: str = "", body: str = "") -> None:
        tag = "" if method == "INVITE" else "[peer_tag_param]"
        values = {"caller": self._caller, "tag": tag, "method": method, "content": content}
        text = f"{method} sip:bot@[remote_ip]:[remote_port] SIP/2.0\n" + HEAD.format(
            cseq=self._cseq, **values
        )
        self._send(text + body, "" if method == "ACK" else UNTIL_EXIT)

    def _send(self, text: str, attributes: str = "") -> None:
        self._steps.append(f"<send {attributes}><![CDATA[\n{text}\n]]></send>")

    def write(self, file: Path) -> Path:
        lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<scenario name="{self._caller}">', *self._steps]
        file.write_text("\n".join([*lines, "</scenario>"]))
        return file


class Sipp:
    """A running sipp."""

    def __init__(self, folder: Path, scenario: Scenario, *arguments: str, timeout_s: int = 120) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        script = scenario.write(folder / "scenario.xml")
        common = ("-i", "127.0.0.1", "-nostdin", "-trace_err", "-timeout", str(timeout_s), "-timeout_error")
        self.process = subprocess.Popen(
            ["sipp", *arguments, "-sf", str(script), *common],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def finished(self, limit_s: float) -> None:
        """Every call went as its scenario says."""
        code = self.process.wait(limit_s)
        assert code == 0, f"exit code {code}: {self.complaints()}"

    def complaints(self) -> str:
        logs = self._folder.glob("*_errors.log")
        return "".join(path.read_text(errors="replace") for path in logs)[-3000:]


@contextmanager
def sipp(folder: Path, scenario: Scenario, *arguments: str, timeout_s: int = 120) -> Iterator[Sipp]:
    """Ended with the block; `arguments` come first, so that HOST:PORT may be among them."""
    running = Sipp(folder, scenario, *arguments, timeout_s=timeout_s)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
