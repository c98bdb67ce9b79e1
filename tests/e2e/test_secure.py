"""A telephone that nobody shares code with calls by TLS and SRTP, and hears the greeting."""

import socket
import subprocess
from pathlib import Path

import pytest
import soundfile
import trustme

from tests.callers import write_wav
from tests.e2e.baresip import baresip
from tests.e2e.server import COMMAND, environment, events, serving
from tests.e2e.sipp import Scenario, sipp
from tests.tools import need

pytestmark = pytest.mark.real


def certificates(folder: Path) -> dict[str, str]:
    """Settings of a server with a certificate of its own authority, ca.pem."""
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return {
        "VOICEGW_SIP__TRANSPORTS": '["udp", "tcp", "tls"]',
        "VOICEGW_SIP__TLS__PORT": str(port),
        "VOICEGW_SIP__TLS__CERTIFICATE": str(folder / "server.pem"),
    }


def test_baresip_hears_the_greeting_and_presses_a_key_over_tls_and_srtp(tmp_path: Path) -> None:
    need("baresip", "sipp")
    settings = certificates(tmp_path) | {"VOICEGW_RTP__SRTP": "required"}
    port = settings["VOICEGW_SIP__TLS__PORT"]
    phone = tmp_path / "phone"
    phone.mkdir()
    write_wav(phone / "said.wav", bytes(16 * 30_000))
    with serving(tmp_path, **settings) as server:
        with baresip(phone, "eve", str(tmp_path / "ca.pem")) as telephone:
            telephone.command("dial", f"sip:bot@127.0.0.1:{port};transport=tls")
            assert telephone.wait(15, "CALL_ESTABLISHED"), (phone / "log").read_text()
            telephone.wait(3)
            telephone.command("sndcode", "1")
            telephone.wait(1.5)
            telephone.command("hangup")
            telephone.wait(10, "CALL_CLOSED")
        # Without encryption there is no call.
        plain = Scenario("mallory").refused(488)
        with sipp(tmp_path / "sipp", plain, f"127.0.0.1:{server.sip_port}", "-m", "1") as caller:
            caller.finished(10)
        # Our own phone, by its command line.
        ours = [*COMMAND, "call", f"sips:bot@127.0.0.1:{port}", "--from", "our", "--dtmf", "1", "--json"]
        ours += ["--srtp", "required", "--ca-file", str(tmp_path / "ca.pem"), "--timeout", "20"]
        done = subprocess.run(ours, env=environment(tmp_path), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
        server.settled()
        assert events(server.call_from("our"), "media", cipher="AES_CM_128_HMAC_SHA1_80")
        call = server.call_from("eve")
        (media,) = events(call, "media")
        assert media["cipher"] in {"AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"}
        assert media["received_received"] > 150 and media["received_garbage"] == 0
        assert media["srtp_unauthentic"] == media["srtp_replayed"] == 0
        assert media["srtp_failed"] <= 2  # baresip sends a keep-alive (RTCP APP "PING") in the clear
        assert "1" in [e.get("digit") for e in events(call, "dtmf")], call["events"]
        assert server.health()["checks"]["sip tls"] == "ok"
        assert "inline:" not in server.stderr
    heard, _ = soundfile.read(next(phone.glob("dump-*-dec.wav")))
    assert abs(heard).max() > 0.1
