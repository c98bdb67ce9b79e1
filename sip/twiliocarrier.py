"""Twilio as a carrier: webhooks, calls placed and ended, transfers. Its socket's messages: sip/twilio.py.

/twilio/voice       what shall be done with a call?       -> TwiML
/twilio/status      a call rings, was answered, is over
/twilio/stream      a media stream began, ended, failed
/twilio/amd         a person has answered, or a machine
/twilio/recording   Twilio's own recording is ready
/twilio/target      the call to whom somebody is transferred
"""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from dialog.types import Transfer
from media.errors import TransferError
from media.leg import HangupCause
from sip import twilioweb
from sip.carrier import Announced, Carrier, Desk, Refused, WebAnswer, WebRequest, own_number
from sip.carrierrest import CarrierError, RestClient, RestConfig
from sip.endpoint import CallProgress, OutboundCall
from sip.errors import CallFailed
from sip.mediacore import Capabilities, Encoding, Means, MediaStreamCore
from sip.twilio import CALLEE, CALLER, TwilioCore
from sip.twiliorest import Account, TwilioRest, sip_status

RING_S = 30.0  # how long a transfer's target may ring where the order does not say
OWN_QUERY = {"order", "room"}  # parameters of our own in webhook addresses
RECORDING = ("RecordingSid", "RecordingUrl", "RecordingDuration", "RecordingStatus", "ErrorCode")

# Final states of a call -> SIP status, if it was never answered.
FAILED = {"busy": 486, "no-answer": 480, "canceled": 487, "failed": 503, "completed": 480}
PROGRESS = {
    "initiated": CallProgress.TRYING,
    "ringing": CallProgress.RINGING,
    "in-progress": CallProgress.ANSWERED,
    "answered": CallProgress.ANSWERED,
}


class TransferBy(StrEnum):
    """How a caller is handed over."""

    CONFERENCE = "conference"
    DIAL = "dial"


class Amd(StrEnum):
    """Whether Twilio listens who has answered."""

    OFF = "off"
    ASYNC = "async"
    SYNC = "sync"


@dataclass(frozen=True, slots=True)
class TwilioConfig:
    """Calls over Twilio (docs/carriers.md). Point the number's voice webhook to PUBLIC_URL/twilio/voice, its
    status callback to PUBLIC_URL/twilio/status."""

    account_sid: str = ""
    """Account SID, AC... Empty: Twilio is not used."""
    auth_token: str = ""
    """Its auth token, best as ${TWILIO_AUTH_TOKEN}: for signatures, and for requests without an API key."""
    api_key: str = ""
    """SID of an API key (SK...) for requests. Empty: the auth token."""
    api_key_secret: str = ""
    """Secret of that key."""
    api_url: str = "https://api.twilio.com"
    """Where requests go; a region has its own, such as https://api.dublin.ie1.twilio.com."""
    caller: str = ""
    """Caller id of outbound calls that bring none: one of the account's numbers, +49..."""
    transfer: TransferBy = TransferBy.CONFERENCE
    """conference: the target is called first, and the caller joins it once it has answered; if it does not,
    the caller is still with the bot. dial: the caller leaves at once and hears it ring; one leg cheaper."""
    amd: Amd = Amd.OFF
    """Answering machine detection of outbound calls. async: the bot speaks at once, the result is in the
    timeline. sync: Twilio listens first (about 4 s), and the flow gets the result as variable `answered_by`,
    if it has one. Costs extra."""
    record: bool = False
    """Twilio records too, on two channels; its address comes into the timeline. Costs extra."""
    check_signatures: bool = True
    """Off only for a test on this machine: then whoever reaches the server is believed to be Twilio, though
    from this machine only."""
    rest: RestConfig = RestConfig()


class Twilio(Carrier):
    """One account."""

    name = "twilio"
    vendor = "Twilio"
    signature_header = "X-Twilio-Signature"
    api_path = "/2010-04-01"
    encoding, codec = Encoding("PCMU", 8000), ""
    hooks = ("voice", "status", "stream", "amd", "recording", "target")
    capabilities = Capabilities(
        clear=True,
        played=True,
        dtmf_in=True,
        dtmf_out=Means.TONES,
        hangup=Means.REST,
        transfer=True,
        conference=True,
        outbound=True,
        amd=True,
        recording=True,
    )

    def __init__(self, config: TwilioConfig) -> None:
        """Raises ValueError for settings that cannot work."""
        if not config.auth_token and config.check_signatures:
            raise ValueError("auth_token is needed: without it no webhook can be checked")
        if bool(config.api_key) != bool(config.api_key_secret):
            raise ValueError("api_key and api_key_secret belong together")
        self.config = config
        self.announced = config.check_signatures
        auth = (config.api_key or config.account_sid, config.api_key_secret or config.auth_token)
        client = RestClient(self.vendor, config.rest, auth)
        self.client = client
        account = Account(config.account_sid, config.api_url.rstrip("/"), self.api_path)
        self.rest = TwilioRest(client, account, self.vendor)
        self.targets: dict[
            str, asyncio.Future[str]
        ] = {}  # room -> "" once the target has answered, or why not

    def core(self) -> MediaStreamCore:
        """Of a new stream."""
        return TwilioCore(self.encoding)

    def check(self, request: WebRequest) -> None:
        """Raise Refused unless Twilio has signed it, for our account."""
        if self.config.check_signatures:
            twilioweb.check(self.config.auth_token, request, self.signature_header)
        elif not request.local:
            raise Refused("not from this machine")
        account = dict(request.form).get("AccountSid", self.config.account_sid)
        if account != self.config.account_sid:
            raise Refused("of another account")

    def check_socket(self, request: WebRequest) -> None:
        """Raise Refused unless Twilio has signed it."""
        if self.config.check_signatures:
            twilioweb.check_socket(self.config.auth_token, request)
        elif not request.local:
            raise Refused("not from this machine")

    async def hook(self, hook: str, request: WebRequest, desk: Desk) -> WebAnswer:
        """Answer a webhook."""
        fields = {**request.query, **dict(request.form)}
        if hook == "voice":
            return WebAnswer(self._voice(fields, request.query, desk))
        call = fields.get("CallSid", "")
        match hook:
            case "status":
                self._status(call, fields, desk)
            case "stream" if fields.get("StreamEvent") == "stream-error":
                desk.report(call, "error", {"message": fields.get("StreamError", "the media stream failed")})
            case "amd":
                desk.report(call, "amd", {"answered_by": fields.get("AnsweredBy", "unknown")})
            case "recording":
                desk.report(call, "recording", {n: fields[n] for n in RECORDING if fields.get(n)})
            case "target":
                self._target(fields)
        return WebAnswer(twilioweb.nothing())

    def control(self, call: Announced, desk: Desk) -> "TwilioControl":
        """Of one call."""
        return TwilioControl(self, call, desk)

    async def began(self, call: Announced, desk: Desk) -> None:
        """Have Twilio record, if it shall."""
        if self.config.record and not call.order:  # outbound calls are ordered with it
            await self.rest.record(call.call_id, desk.hook_url("recording"))

    async def place(self, order: str, call: OutboundCall, desk: Desk) -> str:
        """Call somebody."""
        status = desk.hook_url("status", order=order)
        fields = [
            ("To", call.target),
            ("From", own_number(call, self.config.caller)),
            ("Url", desk.hook_url("voice", order=order)),
            ("StatusCallback", status),
            *(("StatusCallbackEvent", event) for event in ("initiated", "ringing", "answered", "completed")),
            ("Timeout", str(min(600, max(1, round(call.ring_timeout_s))))),
        ]
        if self.config.record:
            fields += [("Record", "true"), ("RecordingChannels", "dual")]
            fields.append(("RecordingStatusCallback", desk.hook_url("recording")))
        if self.config.amd is not Amd.OFF:
            fields.append(("MachineDetection", "Enable"))
        if self.config.amd is Amd.ASYNC:
            fields += [("AsyncAmd", "true"), ("AsyncAmdStatusCallback", desk.hook_url("amd"))]
        try:
            return await self.rest.create(fields)
        except CarrierError as error:
            raise CallFailed(sip_status(error), str(error)) from error

    async def give_up(self, call_id: str) -> None:
        """End a call that was not answered."""
        await self._end(call_id)

    async def close(self) -> None:
        """Close connections."""
        await self.rest.close()

    async def _end(self, call_id: str) -> None:
        try:
            await self.rest.hang_up(call_id)
        except CarrierError as error:
            self.rest.client.log_failure("hang-up", call_id, error)

    # Webhooks

    def _voice(self, fields: Mapping[str, str], query: Mapping[str, str], desk: Desk) -> str:
        call_sid, order = fields.get("CallSid", ""), query.get("order", "")
        if not call_sid:
            raise Refused("there is no CallSid", 400)
        parameters = {n.lower(): v for n, v in query.items() if n not in OWN_QUERY}
        for name, field in (("answered_by", "AnsweredBy"), ("forwarded_from", "ForwardedFrom")):
            if fields.get(field):
                parameters[name] = fields[field]
        call = Announced(call_sid, fields.get("From", ""), fields.get("To", ""), parameters, order)
        if not order and (reason := desk.refusal(call)):
            return twilioweb.reject("busy" if reason == "busy" else "rejected")
        shown = {CALLER: call.caller, CALLEE: call.callee, **parameters}
        return twilioweb.stream(desk.stream_url(call), shown, desk.hook_url("stream"), self.codec)

    def _status(self, call: str, fields: Mapping[str, str], desk: Desk) -> None:
        state, order = fields.get("CallStatus", ""), fields.get("order", "")
        if order and state in PROGRESS:
            desk.progress(order, PROGRESS[state])
        if state not in FAILED:
            return
        if order:
            given = fields.get("SipResponseCode", "")
            status = int(given) if given.isdecimal() and 400 <= int(given) < 700 else FAILED[state]
            desk.failed(order, status, f"{self.vendor} says: {state}")
        if fields.get("ErrorCode"):
            words = fields.get("ErrorMessage", "")
            desk.report(call, "error", {"message": f"{self.vendor} error {fields['ErrorCode']}: {words}"})
        desk.ended(call, HangupCause.NORMAL)

    def _target(self, fields: Mapping[str, str]) -> None:
        waiting = self.targets.get(fields.get("room", ""))
        if waiting is None or waiting.done():
            return
        state = fields.get("CallStatus", "")
        if PROGRESS.get(state) is CallProgress.ANSWERED:
            waiting.set_result("")
        elif state in FAILED:
            waiting.set_result(state)


class TwilioControl:
    """Implements `sip.medialine.CallControl` for one call."""

    def __init__(self, twilio: Twilio, call: Announced, desk: Desk) -> None:
        self._twilio, self._call, self._desk = twilio, call, desk

    async def hangup(self, cause: HangupCause) -> None:
        """End the call, whatever its TwiML would do next."""
        await self._twilio.give_up(self._call.call_id)

    async def press(self, digits: str) -> None:
        """Not asked: keys are pressed by sound (a `<Play digits>` would end the media stream)."""

    async def transfer(self, order: Transfer) -> None:
        """Hand the caller over."""
        try:
            if self._twilio.config.transfer is TransferBy.DIAL:
                timeout_s = round(order.timeout_s or RING_S)
                await self._redirect(twilioweb.dial(order.target, self._own_number, timeout_s))
            else:
                await self._by_conference(order)
        except CarrierError as error:
            raise TransferError(str(error)) from error

    async def _by_conference(self, order: Transfer) -> None:
        """Call the target into a room; the caller follows when it has answered."""
        twilio, room = self._twilio, f"voicegw-{secrets.token_hex(8)}"
        timeout_s = order.timeout_s or RING_S
        answered = twilio.targets[room] = asyncio.get_running_loop().create_future()
        target, joined = "", False
        try:
            target = await twilio.rest.create(
                [
                    ("To", order.target),
                    ("From", self._own_number),
                    ("Twiml", twilioweb.conference(room, waits=False, say=order.summary)),
                    ("StatusCallback", self._desk.hook_url("target", room=room)),
                    ("StatusCallbackEvent", "answered"),
                    ("StatusCallbackEvent", "completed"),
                    ("Timeout", str(min(600, max(1, round(timeout_s))))),
                ]
            )
            async with asyncio.timeout(timeout_s + 10):  # Twilio says itself that nobody answers
                failure = await answered
            if failure:
                raise TransferError(f"the target did not answer: {failure}")
            await self._redirect(twilioweb.conference(room, waits=True))
            joined = True
        except TimeoutError:
            raise TransferError("the target did not answer") from None
        finally:
            del twilio.targets[room]
            if target and not joined:
                await twilio.give_up(target)

    async def _redirect(self, document: str) -> None:
        if not await self._twilio.rest.update(self._call.call_id, [("Twiml", document)]):
            raise TransferError("the caller has hung up")

    @property
    def _own_number(self) -> str:
        """A number of ours, which Twilio lets us show: the one that was called, or called from."""
        call = self._call
        mine = call.caller if call.order else call.callee
        return mine if mine.lstrip("+").isdecimal() else self._twilio.config.caller
