"""jambonz: the verb `listen`, webhooks, REST, signatures. Its socket: sip/audiofork.py.

    /jambonz/call       what shall be done with a call?   -> verbs
    /jambonz/status     a call rings, was answered, is over
    /jambonz/amd        a person has answered, or a machine
    /jambonz/transfer   where a caller goes who leaves us -> verbs

https://docs.jambonz.org
"""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from dialog.types import Transfer
from media.leg import HangupCause
from sip.audiofork import RATES, ForkCore
from sip.carrier import Announced, Desk, Refused, WebAnswer, WebRequest, check_age, is_sip, own_number
from sip.carrierrest import Ask, RestConfig
from sip.endpoint import CallProgress, OutboundCall
from sip.mediacore import Capabilities, Means, MediaStreamCore, strings, text
from sip.restcarrier import RestCarrier, forwarded, forwarding, sip_status
from sip.webpeer import same_secret

TOLERANCE_S = 300  # age of a signed webhook
OWN_QUERY = {"order", "to", "timeout"}  # parameters of our own in webhook addresses
HINTS = {
    "401": "account_sid and api_key do not belong together",
    "403": "the account may not do this",
    "404": "the call is over, or there is no such application",
    "480": "there is no server to place the call from, or no carrier for it",
}
PROGRESS = {
    "trying": CallProgress.TRYING,
    "ringing": CallProgress.RINGING,
    "early-media": CallProgress.EARLY_MEDIA,
    "in-progress": CallProgress.ANSWERED,
}
FAILED = {"busy": 486, "no-answer": 480, "failed": 503, "completed": 480}


@dataclass(frozen=True, slots=True)
class JambonzConfig:
    """Calls over jambonz (docs/carriers.md). Point the application's calling webhook to
    PUBLIC_URL/jambonz/call, its call status webhook to PUBLIC_URL/jambonz/status, both by POST."""

    account_sid: str = ""
    """Account SID. Empty: jambonz is not used."""
    webhook_secret: str = ""
    """Secret of the account's webhooks, best as ${JAMBONZ_WEBHOOK_SECRET}: they are signed with it."""
    api_key: str = ""
    """API key, best as ${JAMBONZ_API_KEY}: for requests."""
    application_sid: str = ""
    """Id of the application, for outbound calls: its speech settings are jambonz' concern, not ours."""
    caller: str = ""
    """Caller id of outbound calls that bring none, and of hand-overs."""
    rate: int = 8000
    """Hz of the sound: 8000, 16000, 24000, 32000, 48000. 8000 fits calls from the telephone network,
    whose sound holds no more: recognisers for the telephone hear it best so. More pays off for callers in HD
    voice."""
    amd: bool = False
    """Answering machine detection of outbound calls; the result is in the timeline."""
    api_url: str = "https://api.jambonz.cloud/v1"
    """Where requests go: a server of your own has its own."""
    rest: RestConfig = RestConfig()

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        if self.rate not in RATES:
            raise ValueError(f"rate must be one of {', '.join(map(str, RATES))}, not {self.rate}")


class Jambonz(RestCarrier):
    """One account."""

    name = vendor = "jambonz"
    hints = HINTS
    statuses = {"480": 503}  # it has no server or carrier for the call; nobody was called
    hooks = ("call", "status", "amd", "transfer")
    subprotocols = ("audio.jambonz.org",)
    capabilities = Capabilities(
        clear=True,
        played=True,
        dtmf_in=True,
        dtmf_out=Means.TONES,
        hangup=Means.REST,
        transfer=True,
        outbound=True,
        amd=True,
    )

    def __init__(self, config: JambonzConfig) -> None:
        """Raises ValueError for settings that cannot work."""
        if not config.webhook_secret:
            raise ValueError("webhook_secret is needed: without it no webhook can be checked")
        if not config.api_key:
            raise ValueError("api_key is needed: without it no call can be ended")
        self.config = config
        super().__init__(config.rest)
        account = quote(config.account_sid, safe="")
        self._calls = f"{config.api_url.rstrip('/')}/Accounts/{account}/Calls"

    def core(self) -> MediaStreamCore:
        """Of a new stream."""
        return ForkCore(self.config.rate)

    def check(self, request: WebRequest) -> None:
        """Raise Refused unless jambonz has signed it, not long ago."""
        given = request.headers.get("Jambonz-Signature", "")
        pairs = [part.strip().partition("=")[::2] for part in given.split(",")]
        stamp = dict(pairs).get("t", "")
        check_age(request, stamp, TOLERANCE_S)
        signed = stamp.encode() + b"." + request.body
        right = hmac.digest(self.config.webhook_secret.encode(), signed, "sha256").hex()
        if not any(name == "v1" and same_secret(value, right) for name, value in pairs):
            raise Refused("wrong signature")

    def check_socket(self, request: WebRequest) -> None:
        """jambonz signs no sockets: the pass in the address is all there is."""

    async def hook(self, hook: str, request: WebRequest, desk: Desk) -> WebAnswer:
        """Answer a webhook."""
        fields, query = request.json, request.query
        call, order = text(fields, "call_sid", ""), query.get("order", "")
        match hook:
            case "call":
                return _verbs(self._call(call, fields, query, desk))
            case "transfer":
                target, timeout_s = forwarded(query)
                return _verbs([dial(target, self.config.caller, timeout_s)])
            case "amd":
                self._amd(call, fields, desk)
            case "status":
                self._status(call, fields, order, desk)
        return _verbs([])

    def _call(
        self, call: str, fields: Mapping[str, Any], query: Mapping[str, str], desk: Desk
    ) -> list[dict[str, Any]]:
        if not call:
            raise Refused("there is no call_sid", 400)
        order = query.get("order", "")
        parameters = {k.lower(): v for k, v in query.items() if k not in OWN_QUERY}
        parameters |= strings(fields.get("customerData"))
        announced = Announced(call, text(fields, "from", ""), text(fields, "to", ""), parameters, order)
        if not order and (reason := desk.refusal(announced)):
            return [{"verb": "sip:decline", "status": 486 if reason == "busy" else 404}]
        rate = self.config.rate
        listen = {
            "verb": "listen",
            "url": desk.stream_url(announced),
            "mixType": "mono",
            "sampleRate": rate,
            "passDtmf": True,
            "bidirectionalAudio": {"enabled": True, "streaming": True, "sampleRate": rate},
        }
        return [{"verb": "answer"}, listen, {"verb": "hangup"}]

    def _amd(self, call: str, fields: Mapping[str, Any], desk: Desk) -> None:
        kind = text(fields, "type", "")
        words = {"amd_human_detected": "human", "amd_machine_detected": "machine"}
        if kind in words:
            desk.report(call, "amd", {"answered_by": words[kind]})

    def _status(self, call: str, fields: Mapping[str, Any], order: str, desk: Desk) -> None:
        state = text(fields, "call_status", "")
        if order and state in PROGRESS:
            desk.progress(order, PROGRESS[state])
        if state not in FAILED:
            return
        if order:
            status = sip_status(text(fields, "sip_status", ""), FAILED[state])
            desk.failed(order, status, f"jambonz says: {text(fields, 'sip_reason', '') or state}")
        desk.ended(call, HangupCause.NORMAL)

    # Requests

    def authorization(self) -> str:
        """Of a request."""
        return f"Bearer {self.config.api_key}"

    def refusal(self, body: Mapping[str, Any]) -> tuple[str, str]:
        """What an error says."""
        return "", text(body, "msg", "")

    async def order(self, order: str, call: OutboundCall, desk: Desk) -> str:
        """Call somebody."""
        body: dict[str, Any] = {
            "from": own_number(call, self.config.caller),
            "to": _target(call.target),
            "call_hook": _webhook(desk.hook_url("call", order=order)),
            "call_status_hook": _webhook(desk.hook_url("status", order=order)),
            "timeout": max(1, round(call.ring_timeout_s)),
        }
        if self.config.application_sid:
            body["application_sid"] = self.config.application_sid
        if self.config.amd:
            body["amd"] = {"actionHook": desk.hook_url("amd")}
        return await self.create(Ask("POST", self._calls, body=body), "sid")

    async def end(self, call_id: str) -> bool:
        """End a call."""
        return await self._update(call_id, {"call_status": "completed"})

    async def hand_over(self, call: Announced, order: Transfer, desk: Desk) -> bool:
        """Send the caller to other verbs, which dial: he leaves at once, come what may."""
        return await self._update(call.call_id, {"call_hook": _webhook(forwarding(desk, order))})

    async def _update(self, call: str, body: Mapping[str, Any]) -> bool:
        return await self.change(Ask("PUT", f"{self._calls}/{quote(call, safe='')}", body=body, again=True))


def dial(target: str, caller: str, timeout_s: int) -> dict[str, Any]:
    """Connect the call to somebody else."""
    verb: dict[str, Any] = {
        "verb": "dial",
        "target": [_target(target)],
        "timeout": timeout_s,
        "answerOnBridge": True,
    }
    return verb | ({"callerId": caller} if caller else {})


def _target(target: str) -> dict[str, str]:
    return {"type": "sip", "sipUri": target} if is_sip(target) else {"type": "phone", "number": target}


def _webhook(url: str) -> dict[str, str]:
    return {"url": url, "method": "POST"}


def _verbs(verbs: list[dict[str, Any]]) -> WebAnswer:
    return WebAnswer(json.dumps(verbs), "application/json")
