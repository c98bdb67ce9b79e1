"""pjsua2's accounts and calls, with callbacks that let no exception out. For thread.py alone."""

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pjsua2 as pj

from sip.ua.config import SipConfig, Trunk

if TYPE_CHECKING:
    from sip.pjsua.thread import PjThread

log = logging.getLogger(__name__)


def options_of(status: int = 0, reason: str = "", headers: Mapping[str, str] | None = None) -> Any:
    options = pj.CallOpParam()
    options.statusCode, options.reason = status, reason
    for name, value in (headers or {}).items():
        header = pj.SipHeader()
        header.hName, header.hValue = name, value
        options.txOption.headers.append(header)
    return options


def account_settings(config: SipConfig, port: int, trunk: Trunk | None) -> Any:
    settings = pj.AccountConfig()
    # No sockets for media: ours carry it. And the library aborts once 64 of them have not yet rested.
    settings.mediaConfig.useLoopMedTp = True
    settings.callConfig.timerUse = pj.PJSUA_SIP_TIMER_OPTIONAL
    if trunk is None:
        host = config.public_host or (config.host if config.host not in {"0.0.0.0", "::"} else "localhost")
        settings.idUri = f"sip:{config.user}@{host}:{port}"
        return settings
    settings.idUri = f"sip:{trunk.username or config.user}@{trunk.registrar}"
    tcp = ";transport=tcp" if trunk.transport.lower() == "tcp" else ""
    if trunk.register:
        settings.regConfig.registrarUri = f"sip:{trunk.registrar}{tcp}"
        settings.regConfig.timeoutSec = trunk.expires_s
    if trunk.proxy:
        settings.sipConfig.proxies.append(f"sip:{trunk.proxy};lr{tcp}")
    if trunk.username:
        name = trunk.auth_username or trunk.username
        credentials = pj.AuthCredInfo("digest", trunk.realm or "*", name, 0, trunk.password)
        settings.sipConfig.authCreds.append(credentials)
    return settings


def _description(stream: Any) -> str:
    """The far end's description, from what pjsip has made of it."""
    host, _, port = stream.remoteRtpAddress.rpartition(":")
    host = host.strip("[]")
    lines = ["v=0", f"c=IN IP{6 if ':' in host else 4} {host}"]
    types, maps = [stream.txPt], [f"a=rtpmap:{stream.txPt} {stream.codecName}/{_clock(stream)}"]
    if stream.audTxEventPt >= 0:
        types.append(stream.audTxEventPt)
        maps.append(f"a=rtpmap:{stream.audTxEventPt} telephone-event/{_clock(stream)}")
    direction = {pj.PJMEDIA_DIR_ENCODING: "recvonly", pj.PJMEDIA_DIR_DECODING: "sendonly"}.get(stream.dir)
    if stream.dir == pj.PJMEDIA_DIR_NONE:
        direction = "inactive"
    media = f"m=audio {port} RTP/AVP {' '.join(map(str, types))}"
    return "\r\n".join([*lines, media, *maps, f"a={direction or 'sendrecv'}"]) + "\r\n"


def _clock(stream: Any) -> int:
    # RFC 3551, 4.5.2: G.722 says 8000 and means 16000.
    return 8000 if stream.codecName.upper() == "G722" else int(stream.codecClockRate)


def _guarded(callback: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """No exception may leave a callback."""

    def guarded(self: Any, param: Any) -> None:
        try:
            callback(self, param)
        except Exception as e:  # a traceback would keep the library's objects: its text only
            log.error("pjsua callback failed", extra={"callback": callback.__name__, "error": repr(e)})

    return guarded


class Account(pj.Account):  # type: ignore[misc]
    def __init__(self, owner: "PjThread", name: str) -> None:
        super().__init__()
        self._owner, self._name = owner, name
        self.registered = False

    def unregister_quietly(self) -> None:
        if self.registered:
            try:
                self.setRegistration(False)
            except pj.Error:
                self.registered = False

    @_guarded
    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802
        self._owner.came_in(self, prm.callId, prm.rdata.wholeMsg, prm.rdata.srcAddress)

    @_guarded
    def onRegState(self, prm: Any) -> None:  # noqa: N802
        self.registered = prm.code // 100 == 2 and prm.expiration > 0
        owner = self._owner
        owner.tell(owner.events.registered, self._name, prm.code, prm.reason, prm.expiration)


class Call(pj.Call):  # type: ignore[misc]
    def __init__(self, owner: "PjThread", account: Account, number: int, call_id: int = -1) -> None:
        super().__init__(account, call_id)
        self._owner, self.number = owner, number
        self.local = ""
        """The description to send next; "" asks the loop."""
        self.awaits_answer = False
        """Our description was an offer although we answer the call."""

    # Commands. Those of pjsua2 itself are named in its own style.

    def respond(self, status: int, description: str = "", *, offers: bool = False) -> None:
        """Send a provisional or the final positive answer; `offers` if the caller has not."""
        self.local, self.awaits_answer = description, offers
        options = options_of(status)
        options.opt.audioCount, options.opt.videoCount = 1, 0
        self.answer(options)

    def renegotiate(self, description: str) -> None:
        """Send a re-INVITE with our description."""
        self.local = description
        options = pj.CallOpParam(True)
        options.opt.audioCount, options.opt.videoCount = 1, 0
        options.opt.flag = pj.PJSUA_CALL_UNHOLD
        self.reinvite(options)

    def press(self, digit: str, duration_ms: int) -> None:
        """Press a key by INFO."""
        param = pj.CallSendDtmfParam()
        param.method, param.duration, param.digits = pj.PJSUA_DTMF_METHOD_SIP_INFO, duration_ms, digit
        self.sendDtmf(param)

    def refer(self, target: str) -> None:
        """Send REFER; `transferred` follows."""
        self.xfer(target, options_of())

    def hang_up_quietly(self) -> None:
        try:
            self.hangup(options_of())
        except pj.Error:
            return  # over already

    @_guarded
    def onCallState(self, prm: Any) -> None:  # noqa: N802
        info = self.getInfo()
        state = {
            pj.PJSIP_INV_STATE_EARLY: "early",
            pj.PJSIP_INV_STATE_CONFIRMED: "confirmed",
            pj.PJSIP_INV_STATE_DISCONNECTED: "disconnected",
        }.get(info.state)
        owner = self._owner
        if state is not None:
            owner.tell(owner.events.state, self.number, state, info.lastStatusCode, info.lastReason)
        if state == "disconnected":
            owner.ended(self.number)

    @_guarded
    def onCallTsxState(self, prm: Any) -> None:  # noqa: N802
        event = prm.e.body.tsxState
        if event.tsx.method == "INVITE" and event.type == pj.PJSIP_EVENT_RX_MSG:
            message = event.src.rdata.wholeMsg
            if message.startswith("SIP/2.0 ") and "application/sdp" in message.lower():
                body = message.replace("\r\n", "\n").partition("\n\n")[2]
                self._owner.tell(self._owner.events.described, self.number, body)

    @_guarded
    def onCallMediaState(self, prm: Any) -> None:  # noqa: N802
        if self.awaits_answer:  # it came in an ACK, whose text the library does not show
            self.awaits_answer = False
            self._owner.tell(self._owner.events.described, self.number, _description(self.getStreamInfo(0)))

    @_guarded
    def onCallRxOffer(self, prm: Any) -> None:  # noqa: N802
        said = self._owner.ask(self.number, prm.offer.wholeSdp)
        if isinstance(said, int):
            prm.statusCode = said
        else:
            self.local = said

    @_guarded
    def onCallSdpCreated(self, prm: Any) -> None:  # noqa: N802
        if not self.local:
            said = self._owner.ask(self.number, prm.remSdp.wholeSdp)
            self.local = said if isinstance(said, str) else ""
        if self.local:
            prm.sdp.wholeSdp = self.local
            self.local = ""

    @_guarded
    def onDtmfDigit(self, prm: Any) -> None:  # noqa: N802
        self._owner.tell(self._owner.events.key, self.number, prm.digit)

    @_guarded
    def onCallTransferRequest(self, prm: Any) -> None:  # noqa: N802
        prm.statusCode = 603  # whoever calls us does not get to place calls at our cost

    @_guarded
    def onCallTransferStatus(self, prm: Any) -> None:  # noqa: N802
        if prm.finalNotify or prm.statusCode >= 200:
            self._owner.tell(self._owner.events.transferred, self.number, prm.statusCode)
            prm.cont = False
