"""Taking part in live calls over HTTP: what is asked reaches the call, what is wrong is named."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from dialog.types import Act, Say, SendDtmf, Transfer, TransferMode
from media.company import Company, Role
from sip.endpoint import OutboundCall
from sip.errors import CallFailed
from tests.fakes import FakeLeg, FakeObserver
from voicegw.config.outbound import OutboundRoute
from voicegw.dialler import LiveDialler
from voicegw.dialplan import DialPlan
from voicegw.liveapi import LiveApi

ANNA = "sip:anna@127.0.0.1"


class FakeBoard:
    def __init__(self) -> None:
        self.rate, self.handing_over = 8000, False
        self.company: Company | None = None
        self.called: list[tuple[str, Role, str]] = []
        self.switched: list[tuple[str, bool, str]] = []

    def call_in(self, target: str, role: Role, name: str) -> None:
        self.called.append((target, role, name))

    def hold(self, *, on: bool, name: str = "") -> None:
        self.switched.append(("hold", on, name))

    def mute(self, *, on: bool) -> None:
        self.switched.append(("mute", on, ""))


class FakeSession:
    def __init__(self) -> None:
        self.board, self.done = FakeBoard(), list[Act]()

    def do(self, act: Act) -> None:
        self.done.append(act)


class Live(dict[str, Any]):
    find = dict.get


async def asked(session: FakeSession, method: str, path: str, body: object = None) -> tuple[int, Any]:
    dialler = LiveDialler()
    dialler.open(DialPlan([OutboundRoute(prefix="sip:")], ()), {})
    live = Live(c1=SimpleNamespace(session=session, state="answered"))
    app = web.Application()
    app.add_routes(LiveApi(live, dialler).routes())  # type: ignore[arg-type]
    async with TestClient(TestServer(app)) as client:
        answer = await client.request(method, f"/api/calls/{path}", json=body)
        return answer.status, await answer.json()


def ask(session: FakeSession, method: str, path: str, body: object = None) -> tuple[int, Any]:
    return asyncio.run(asked(session, method, path, body))


def test_what_is_asked_reaches_the_call() -> None:
    session = FakeSession()
    order = {"to": ANNA, "mode": "attended", "summary": "He waits.", "timeout_s": 20}
    for path, body in (
        ("transfer", order),
        ("dtmf", {"digits": "12#"}),
        ("play", {"text": "One moment."}),
        ("listen", {"to": ANNA}),
        ("barge", {"to": ANNA, "name": "boss"}),
        ("invite", {"to": ANNA}),
        ("hold", {"music": "ringing"}),
        ("hold", {"on": False}),
        ("mute", {}),
    ):
        status, answer = ask(session, "POST", f"c1/{path}", body)
        assert status == 202 and answer["id"] == "c1", (path, answer)
    assert session.done == [
        Transfer(ANNA, TransferMode.ATTENDED, "He waits.", timeout_s=20),
        SendDtmf("12#"),
        Say("One moment."),
    ]
    assert session.board.called == [
        (ANNA, Role.LISTEN, "supervisor"),
        (ANNA, Role.BARGE, "boss"),
        (ANNA, Role.GUEST, "guest"),
    ]
    assert session.board.switched == [("hold", True, "ringing"), ("hold", False, ""), ("mute", True, "")]


@pytest.mark.parametrize(
    "path, body, status, said",
    [
        ("c2/play", {"text": "x"}, 404, "no such call"),
        ("c1/play", {"text": ""}, 400, "text: 1 to"),
        ("c1/play", {"txt": "x"}, 400, "text"),
        ("c1/play", {"text": "x", "loud": True}, 400, "unknown: loud"),
        ("c1/dtmf", {"digits": "12x"}, 400, "digits"),
        ("c1/transfer", {"to": ANNA, "mode": "attended"}, 400, "needs a summary"),
        ("c1/transfer", {"to": ANNA, "music": "/etc/passwd"}, 400, "music"),
        ("c1/transfer", {"to": ANNA, "timeout_s": 0}, 400, "timeout_s"),
        ("c1/listen", {"to": "+49301234"}, 400, "nothing leads to"),
        ("c1/whisper", {"to": ANNA}, 409, "nobody to whisper to"),
    ],
)
def test_what_is_wrong_is_named(path: str, body: dict[str, Any], status: int, said: str) -> None:
    session = FakeSession()
    got, answer = ask(session, "POST", path, body)
    assert got == status and said in answer["error"]
    assert not session.done and not session.board.called


def test_nobody_is_handed_over_twice_at_a_time() -> None:
    session = FakeSession()
    session.board.handing_over = True
    status, answer = ask(session, "POST", "c1/transfer", {"to": ANNA})
    assert status == 409 and "already" in answer["error"] and not session.done


def test_a_supervisor_who_is_in_changes_what_he_does_and_may_be_taken_out() -> None:
    async def play() -> None:
        session, leg, caller = FakeSession(), FakeLeg(), FakeLeg()
        company = session.board.company = Company(caller, FakeObserver(), None, lambda resting: None)
        party = company.enter(leg, Role.LISTEN, "supervisor")
        assert (await asked(session, "POST", "c1/barge", {"to": ""}))[0] == 202
        assert party.role is Role.BARGE and not session.board.called
        status, found = await asked(session, "GET", "c1/parties")
        assert found == {"parties": [{"name": "supervisor", "role": "barge"}], "speaker": None}
        assert (await asked(session, "DELETE", "c1/parties/nobody"))[0] == 404
        assert (await asked(session, "DELETE", "c1/parties/supervisor"))[0] == 202
        assert leg.closed is not None

    asyncio.run(play())


def test_the_dialler_says_why_nobody_came() -> None:
    class Busy:
        async def place(self, call: OutboundCall, on_progress: object = None) -> FakeLeg:
            assert (call.target, call.ring_timeout_s) == (ANNA, 7)
            raise CallFailed(486, "Busy Here")

    async def play() -> None:
        dialler = LiveDialler()
        dialler.open(DialPlan([OutboundRoute(prefix="sip:")], ()), {"sip": Busy()})  # type: ignore[dict-item]
        with pytest.raises(Exception, match=r"busy \(486 Busy Here\)"):
            await dialler.place(ANNA, FakeLeg().info, 7)

    asyncio.run(play())
