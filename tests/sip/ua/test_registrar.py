"""Accounts: challenges, registration, and calls from and to registered phones."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from media.leg import HangupCause
from sip.endpoint import CallProgress, OutboundCall
from sip.errors import CallFailed
from sip.ua.accounts import Account, Challenge, DigestAlgorithm
from sip.ua.agent import UserAgent
from sip.ua.authority import NONCE_S, Authority, Verdict
from sip.ua.digest import Credentials, challenges
from sip.ua.message import Headers, Request, Response
from sip.ua.sources import Sources
from tests.sip.ua.wire import HOST, UA_PORT, Callee, Ear, Peer, Wire, run, sdp, user_agent

ANNA = Account("anna", "secret", extensions=("101",))
BERT = Account("bert", "hidden", extensions=("102",), may_call=("10*",))


def scenario(test: Callable[..., Awaitable[None]], **config: Any) -> None:
    """`test` gets the user agent, two phones and the application."""

    async def body() -> None:
        wire = Wire()
        agent, callee = user_agent(wire, accounts=(ANNA, BERT), **config), Callee(0.1)
        one, two = Peer(wire), Peer(wire, 5080)
        two.call_id = "call-2"
        await agent.start(callee)
        await asyncio.sleep(0.01)
        await test(agent, one, two, callee)
        await agent.close()
        assert agent.calls == 0 and agent.counters.errors == 0

    run(body)


async def proven(
    phone: Peer, request: Request, status: int = 200, account: Account = ANNA, password: str = ""
) -> Response:
    """Sends a request, and again with an answer to the challenge."""
    phone.send(request)
    refused = await phone.response(401)
    challenge = challenges(refused)[0]
    if request.method == "INVITE":
        phone.tag = ""
        ack = phone.request("ACK", number=request.cseq.number, branch=request.via.branch)
        ack.headers.set("to", refused.headers.get("to") or "")
        phone.send(ack)
    credentials = Credentials(account.user, password or account.password)
    again = phone.request(request.method, request.body, headers=tuple(
        (name, value) for name, value in request.headers if name not in
        ("via", "from", "to", "call-id", "cseq", "contact", "content-type", "content-length")
    ))  # fmt: skip
    again.uri = request.uri
    for name in ("to", "from", "contact"):
        again.headers.set(name, request.headers.get(name) or "")
    answer = credentials.answer(challenge, again.method, again.uri, "cnonce")
    again.headers.add(challenge.header, answer)
    return await phone.ask(again, status)


def register(phone: Peer, user: str = "anna", expires: str = "600", contact: str = "") -> Request:
    request = phone.request("REGISTER", headers=(("Expires", expires),))
    request.uri = "sip:voicegw"
    request.headers.set("to", f"<sip:{user}@voicegw>")
    request.headers.set("contact", contact or f"<sip:{user}@{HOST}:{phone.port}>")
    return request


def test_a_phone_registers_with_its_password_and_leaves() -> None:
    async def test(agent: UserAgent, one: Peer, two: Peer, callee: Callee) -> None:
        response = await proven(one, register(one))
        assert response.headers.values("contact") == [f"<sip:anna@{HOST}:5070>;expires=600"]
        response = await proven(two, register(two))
        assert len(response.headers.values("contact")) == 2, "two phones of one account"
        response = await proven(one, register(one, expires="0"))
        assert response.headers.values("contact") == [f"<sip:anna@{HOST}:5080>;expires=600"]
        response = await proven(one, register(one, expires="0", contact="*"))
        assert response.headers.values("contact") == []
        assert len(agent.registrar.bindings) == 0

    scenario(test)


def test_a_registration_ends_by_itself() -> None:
    async def test(agent: UserAgent, one: Peer, two: Peer, callee: Callee) -> None:
        await proven(one, register(one, expires="100"))
        await asyncio.sleep(99)
        assert len(agent.registrar.phones("101")) == 1
        await asyncio.sleep(30)
        assert not agent.registrar.phones("101") and len(agent.registrar.bindings) == 0

    scenario(test)


@pytest.mark.parametrize(
    "user, expires, contact, account, password, status",
    [
        ("anna", "600", "", ANNA, "wrong", 403),
        ("anna", "600", "", Account("nobody", "x"), "", 403),
        ("anna", "600", "", BERT, "", 403),
        ("anna", "5", "", ANNA, "", 423),
        ("anna", "600", "*", ANNA, "", 400),
        ("anna", "600", "<mailto:a@b>", ANNA, "", 416),
        ("anna", "600", ", ".join(f"<sip:a@h{n}>" for n in range(11)), ANNA, "", 403),
    ],
)
def test_registrations_that_are_refused(
    user: str, expires: str, contact: str, account: Account, password: str, status: int
) -> None:
    async def test(agent: UserAgent, one: Peer, two: Peer, callee: Callee) -> None:
        response = await proven(one, register(one, user, expires, contact), status, account, password)
        if status == 423:
            assert response.headers.get("min-expires") == "30"
        assert len(agent.registrar.bindings) == 0
        wrong = password == "wrong" or account.user == "nobody"
        assert agent.counters.auth_failures == (1 if wrong else 0)

    scenario(test)


def test_a_phone_more_takes_the_place_of_the_oldest() -> None:
    async def test(agent: UserAgent, one: Peer, two: Peer, callee: Callee) -> None:
        for number in range(7):
            contact = f"<sip:anna@{HOST}:{6000 + number}>"
            response = await proven(one, register(one, expires=str(600 + number), contact=contact))
        assert len(response.headers.values("contact")) == 5
        assert f"{HOST}:6006" in str(response.headers.values("contact"))

    scenario(test)


def test_the_same_phone_at_another_address_is_one_phone() -> None:
    async def test(agent: UserAgent, one: Peer, two: Peer, callee: Callee) -> None:
        for port in (6000, 6001):
            contact = f'<sip:anna@{HOST}:{port}>;+sip.instance="<urn:uuid:1>"'
            response = await proven(one, register(one, contact=contact))
        assert len(response.headers.values("contact")) == 1

    scenario(test)


def test_a_late_repetition_does_not_undo_what_came_after() -> None:
    async def test(agent: UserAgent, one: Peer, two: Peer, callee: Callee) -> None:
        await proven(one, register(one))
        binding = agent.registrar.phones("anna")[0]
        old = register(one, expires="0")
        old.headers.set("cseq", f"{binding.number} REGISTER")
        with pytest.raises(Exception, match="older"):
            agent.registrar.bindings.register(ANNA, old, binding.flow, asyncio.get_running_loop().time())

    scenario(test)


def test_routers_are_kept_open_towards_registered_phones() -> None:
    async def test(agent: UserAgent, one: Peer, two: Peer, callee: Callee) -> None:
        await proven(one, register(one))
        before = len(one.wire.log)
        await asyncio.sleep(60)
        kept = [entry for entry in one.wire.log[before:] if entry[2] == 5070 and entry[3] == ""]
        assert len(kept) == 2

    scenario(test)


# Calls


def test_strangers_are_asked_before_a_call_is_taken() -> None:
    async def test(agent: UserAgent, one: Peer, two: Peer, callee: Callee) -> None:
        await one.ask(one.request("OPTIONS"), 401)
        await proven(one, one.request("INVITE", sdp(), headers=(("X-Account", "bert"),)), 200)
        await asyncio.sleep(0.1)
        info = callee.calls[0].info
        assert (info.caller, info.headers["x-account"]) == ("101", "anna"), "not what the From says"
        await one.ask(one.request("BYE"), 200)

    scenario(test, challenge=Challenge.EVERYBODY)


def test_what_an_account_may_not_call_is_refused() -> None:
    async def test(agent: UserAgent, one: Peer, two: Peer, callee: Callee) -> None:
        request = one.request("INVITE", sdp())
        request.uri = f"sip:0900123@{HOST}"
        await proven(one, request, 403, BERT)
        assert not callee.calls

    scenario(test, challenge=Challenge.EVERYBODY)


def test_known_networks_call_as_before() -> None:
    async def test(agent: UserAgent, one: Peer, two: Peer, callee: Callee) -> None:
        await one.ask(one.request("INVITE", sdp()), 200)
        await asyncio.sleep(0.1)
        assert "x-account" not in callee.calls[0].info.headers
        await one.ask(one.request("BYE"), 200)

    scenario(test, challenge=Challenge.STRANGERS)


def test_strangers_are_heard_only_where_they_are_asked() -> None:
    for challenge, heard in ((Challenge.NEVER, False), (Challenge.STRANGERS, True)):
        agent = user_agent(Wire(), accounts=(ANNA,), challenge=challenge)
        assert agent.sources.allows("203.0.113.9") is heard
        assert not agent.sources.known("203.0.113.9")
        assert isinstance(agent.sources, Sources) and agent.sources.known("127.0.0.1")


def test_an_extension_rings_all_its_phones_and_the_first_one_wins() -> None:
    async def test(agent: UserAgent, one: Peer, two: Peer, callee: Callee) -> None:
        await proven(one, register(one))
        await proven(two, register(two))
        task = asyncio.ensure_future(agent.place(OutboundCall("sip:101@voicegw", "102")))
        first, second = await one.receive("INVITE"), await two.receive("INVITE")
        assert first.uri == f"sip:anna@{HOST}:5070" and first.to.uri == "sip:101@voicegw"
        one.answer(first, 180)
        two.answer(second, 180)
        await asyncio.sleep(0.1)
        two.answer(second, 200, sdp())
        await two.receive("ACK")
        one.answer(await one.receive("CANCEL"), 200)
        one.answer(first, 487)
        await one.receive("ACK")
        ear = Ear(await task)
        await ear.leg.hangup(HangupCause.NORMAL)
        two.answer(await two.receive("BYE"), 200)

    scenario(test)


def test_when_two_phones_answer_at_once_one_is_hung_up_on() -> None:
    async def test(agent: UserAgent, one: Peer, two: Peer, callee: Callee) -> None:
        await proven(one, register(one))
        await proven(two, register(two))
        task = asyncio.ensure_future(agent.place(OutboundCall("sip:101@voicegw")))
        first, second = await one.receive("INVITE"), await two.receive("INVITE")
        one.answer(first, 200, sdp())
        two.answer(second, 200, sdp())
        await one.receive("ACK")
        await two.receive("ACK")
        leg = await task
        await asyncio.sleep(0.1)
        assert agent.calls <= 2
        await leg.hangup(HangupCause.NORMAL)
        one.answer(await one.receive("BYE"), 200)
        two.answer(await two.receive("BYE"), 200)

    scenario(test)


@pytest.mark.parametrize("steps", range(8))
def test_a_call_given_up_in_the_moment_of_its_answer_is_hung_up(steps: int) -> None:
    async def test(agent: UserAgent, one: Peer, two: Peer, callee: Callee) -> None:
        await proven(one, register(one))
        await proven(two, register(two))
        loop = asyncio.get_running_loop()

        def later(left: int) -> None:
            if left:
                loop.call_soon(later, left - 1)
            else:
                task.cancel()

        def progress(reached: CallProgress) -> None:
            if reached is CallProgress.ANSWERED:
                later(steps)

        task = asyncio.ensure_future(agent.place(OutboundCall("sip:101@voicegw"), progress))
        first, second = await one.receive("INVITE"), await two.receive("INVITE")
        two.answer(second, 180)
        one.answer(first, 200, sdp())
        await one.receive("ACK")
        try:
            await (await task).hangup(HangupCause.NORMAL)
        except asyncio.CancelledError:
            pass
        two.answer(await two.receive("CANCEL"), 200)
        two.answer(second, 487)
        one.answer(await one.receive("BYE"), 200)

    scenario(test)


@pytest.mark.parametrize("statuses, status", [((486, 480), 486), ((603, None), 603), ((480, 404), 404)])
def test_when_no_phone_answers_the_clearest_reason_counts(
    statuses: tuple[int, int | None], status: int
) -> None:
    async def test(agent: UserAgent, one: Peer, two: Peer, callee: Callee) -> None:
        await proven(one, register(one))
        await proven(two, register(two))
        task = asyncio.ensure_future(agent.place(OutboundCall("sip:101@voicegw")))
        for phone, answer in zip((one, two), statuses, strict=True):
            invite = await phone.receive("INVITE")
            phone.answer(invite, answer or 180)
            if answer:
                await phone.receive("ACK")
        if None in statuses:
            two.answer(await two.receive("CANCEL"), 200)
            two.answer(invite, 487)
            await two.receive("ACK")
        with pytest.raises(CallFailed) as failed:
            await task
        assert failed.value.status == status

    scenario(test)


def test_an_account_without_a_phone_cannot_be_reached() -> None:
    async def test(agent: UserAgent, one: Peer, two: Peer, callee: Callee) -> None:
        for target in ("sip:bert@voicegw", f"sip:102@{HOST}:{UA_PORT}"):
            with pytest.raises(CallFailed) as failed:
                await agent.place(OutboundCall(target))
            assert failed.value.cause is HangupCause.UNREACHABLE

    scenario(test)


# The core of digest


AUTHORITY = Authority("realm", (ANNA,), tuple(DigestAlgorithm), b"k" * 32)


def asked(value: str, method: str = "INVITE", uri: str = "sip:bot@host") -> Request:
    return Request(Headers([("Authorization", value)]), b"", method, uri)


def answered(now: float, algorithm: int = 0, **how: str) -> str:
    response = Response(
        Headers([("WWW-Authenticate", AUTHORITY.challenges(now, how.get("host", "192.0.2.7"))[algorithm])]),
        b"",
        401,
    )
    credentials = Credentials(how.get("user", "anna"), how.get("password", "secret"))
    return credentials.answer(challenges(response)[0], "INVITE", how.get("uri", "sip:bot@host"), "c")


@pytest.mark.parametrize("algorithm", [0, 1])
def test_a_right_answer_counts_once(algorithm: int) -> None:
    now = 1000 + algorithm
    value = answered(now, algorithm)
    assert AUTHORITY.judge(asked(value), "192.0.2.7", now + 1) == (Verdict.RIGHT, ANNA)
    assert AUTHORITY.judge(asked(value), "192.0.2.7", now + 2) == (Verdict.STALE, None), (
        "somebody has recorded it"
    )


def test_answers_age() -> None:
    assert AUTHORITY.judge(asked(answered(2000)), "192.0.2.7", 2000 + NONCE_S + 1)[0] is Verdict.STALE
    assert AUTHORITY.judge(asked(answered(3000)), "192.0.2.7", 2000)[0] is Verdict.STALE, "from the future"


@pytest.mark.parametrize(
    "value, method, uri",
    [
        (answered(5000, password="wrong"), "INVITE", "sip:bot@host"),
        (answered(5000, user="nobody"), "INVITE", "sip:bot@host"),
        (answered(5000), "REGISTER", "sip:bot@host"),
        (answered(5000), "INVITE", "sip:expensive@host"),
    ],
)
def test_wrong_answers(value: str, method: str, uri: str) -> None:
    assert AUTHORITY.judge(asked(value, method, uri), "192.0.2.7", 5001) == (Verdict.WRONG, None)


@pytest.mark.parametrize("password", ["secret", "wrong"])
def test_an_answer_to_what_somebody_else_was_asked_tells_nothing(password: str) -> None:
    """Neither whether the password is right, nor that this source guesses: it may know nothing of it."""
    stolen = answered(9000, password=password, host="192.0.2.8")
    assert AUTHORITY.judge(asked(stolen), "192.0.2.7", 9001) == (Verdict.STALE, None)
    invented = answered(9000, password=password).replace("9000000-", "9000001-")
    assert AUTHORITY.judge(asked(invented), "192.0.2.7", 9001) == (Verdict.STALE, None)


def test_a_nonce_is_for_a_network_of_ipv6() -> None:
    """A phone there takes another address every day."""
    value = answered(9500, host="2001:db8:1:2::1")
    assert AUTHORITY.judge(asked(value), "2001:db8:1:3::1", 9501)[0] is Verdict.STALE
    assert AUTHORITY.judge(asked(value), "2001:db8:1:2:ffff::9", 9501)[0] is Verdict.RIGHT


def test_a_nonce_of_somebody_else_is_stale() -> None:
    other = Authority("realm", (ANNA,), tuple(DigestAlgorithm), b"x" * 32)
    assert other.judge(asked(answered(6000)), "192.0.2.7", 6001)[0] is Verdict.STALE


@pytest.mark.parametrize("value", ["Basic abc", 'Digest realm="other", nonce="1"', ""])
def test_credentials_for_others_are_none(value: str) -> None:
    assert AUTHORITY.judge(asked(value), "192.0.2.7", 1) == (Verdict.NOTHING, None)


@pytest.mark.parametrize(
    "value",
    [
        'Digest realm="realm"',
        'Digest realm="realm", qop=auth, nc=zz, username="a"',
        'Digest realm="realm", algorithm=SHA-512-256, qop=auth, nc=00000001',
        'Digest realm="realm", qop=auth, nc=00000001, username="a"',
        'Digest realm="realm", username="' + "a" * 5000 + '"',
    ],
)
def test_credentials_that_are_none_raise_the_documented_error(value: str) -> None:
    from sip.errors import RemoteProtocolError  # noqa: PLC0415

    with pytest.raises(RemoteProtocolError):
        AUTHORITY.judge(asked(value), "192.0.2.7", 1)


def test_hashed_passwords_serve_their_algorithm_alone() -> None:
    ha1 = hashlib.md5(b"anna:realm:secret", usedforsecurity=False).hexdigest()
    authority = Authority("realm", (Account("anna", md5_password=ha1),), tuple(DigestAlgorithm), b"k" * 32)
    assert authority.judge(asked(answered(7000, 1)), "192.0.2.7", 7001)[0] is Verdict.RIGHT
    assert authority.judge(asked(answered(8000, 0)), "192.0.2.7", 8001)[0] is Verdict.WRONG


def test_accounts_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="no password"):
        Account("anna")
    with pytest.raises(ValueError, match="32 hex digits"):
        Account("anna", md5_password="abc")
    with pytest.raises(ValueError, match="101 is given twice"):
        user_agent(Wire(), accounts=(ANNA, Account("x", "y", extensions=("101",))))
    with pytest.raises(ValueError, match="no accounts"):
        user_agent(Wire(), challenge=Challenge.STRANGERS)
