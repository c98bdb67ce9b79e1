"""Genesys Cloud AudioHook, version 2, as the Audio Connector speaks it: Genesys connects to us, each message
numbered and each request answered. Sound is PCMU, 8 kHz, in binary messages, ours in large ones: Genesys
limits their number.

https://developer.genesys.cloud/devapps/audiohook
"""

import json
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hmac import digest as hmac_digest
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from dialog.types import Transfer
from media.leg import HangupCause
from sip.carrier import Announced, Carrier, Desk, Refused, WebAnswer, WebRequest
from sip.mediacore import (
    Audio,
    Capabilities,
    Encoding,
    Failure,
    Held,
    Ignored,
    Means,
    MediaStreamCore,
    Message,
    Reply,
    Started,
    Stopped,
    StreamEvent,
    digit,
    member,
    number,
    read_json,
    strings,
    text,
)
from sip.medialine import CallControl
from sip.webpeer import same_secret

PROBE = "00000000-0000-0000-0000-000000000000"  # conversation of a connection test: it brings no call
TRANSFER = "transfer_to"  # output variable: where the flow of Architect shall send the caller
MAX_AGE_S = 10  # of a signed request
SIGNED = {"@request-target", "@authority", "audiohook-organization-id", "audiohook-session-id"}
SIGNED |= {"audiohook-correlation-id", "x-api-key"}
SEEN = 2000  # nonces that are remembered


class AudioHookCore(MediaStreamCore):
    """One session."""

    lead_ms = 400
    message_frames = 10
    linger_s = 3.0

    def __init__(self, sessions: "WeakValueDictionary[str, AudioHookCore]") -> None:
        """`sessions`: where it puts itself, by its id, once it is open."""
        self._sessions = sessions
        self._id, self._seq, self._client_seq = "", 0, 0
        self.output: dict[str, str] = {}
        """Output variables for the flow of Architect."""

    def receive(self, message: Message) -> Sequence[StreamEvent]:
        """Events of one message."""
        if isinstance(message, bytes):
            return [Audio(message)]
        body = read_json(message)
        kind, said = text(body, "type"), body.get("parameters")
        said = said if isinstance(said, dict) else {}
        if kind == "open" and not self._id:
            return self._open(body, member(body, "parameters"))
        if text(body, "id", "") != self._id or not self._id:
            return [Ignored("another session")]
        self._client_seq = number(body, "seq") or self._client_seq
        match kind:
            case "ping":
                return [self._reply("pong")]
            case "close":
                return [self._reply("closed", outputVariables=self.output), Stopped()]
            case "dtmf":
                return digit(said.get("digit"))
            case "paused":
                return [Held(True)]
            case "resumed":
                return [Held(False)]
            case "update":
                return [self._reply("updated")]
            case "error":
                return [Failure(text(said, "message", "") or text(said, "code", "an error without words"))]
            case "playback_started" | "playback_completed" | "discarded":
                return []
        return [Ignored("unknown message")]

    def audio(self, payload: bytes) -> Message:
        """Sound of any length."""
        return payload

    def clear(self) -> Message:
        """The caller has interrupted: what is not played yet is forgotten."""
        return self._say("event", {"entities": [{"type": "barge_in", "data": {}}]})

    def goodbye(self, cause: HangupCause) -> Message:
        """Give the call back to the flow of Architect. Genesys closes the session then."""
        reason = "error" if cause in {HangupCause.INTERNAL, HangupCause.INCOMPATIBLE} else "completed"
        return self._say("disconnect", {"reason": reason, "outputVariables": self.output})

    def _open(self, body: Mapping[str, Any], said: Mapping[str, Any]) -> list[StreamEvent]:
        session, conversation = text(body, "id"), text(said, "conversationId")
        offers = said.get("media")
        offers = offers if isinstance(offers, list) else []
        self._id, self._client_seq = session, number(body, "seq") or 0
        probe = conversation == PROBE
        chosen = [offer for offer in offers if _is_ours(offer)][:1]
        if not chosen and not probe:
            disconnect = self._reply("disconnect", reason="error", info="only PCMU, external channel alone")
            return [disconnect, Stopped(HangupCause.INCOMPATIBLE)]
        opened = self._reply("opened", startPaused=False, media=chosen)
        if probe:
            return [opened]
        self._sessions[session] = self
        who = said.get("participant")
        who = who if isinstance(who, dict) else {}
        given = strings(said.get("inputVariables")) | {"conversation_id": conversation}
        encoding = Encoding("PCMU", 8000)
        caller, callee = text(who, "ani", ""), text(who, "dnis", "")
        return [opened, Started(session, session, encoding, encoding, caller, callee, given)]

    def _reply(self, kind: str, **said: object) -> Reply:
        return Reply(self._say(kind, said))

    def _say(self, kind: str, said: Mapping[str, object]) -> str:
        self._seq += 1
        head = {"version": "2", "id": self._id, "type": kind, "seq": self._seq}
        return json.dumps({**head, "clientseq": self._client_seq, "parameters": said})


def _is_ours(offer: object) -> bool:
    if not isinstance(offer, dict):
        return False
    return (offer.get("format"), offer.get("rate"), offer.get("channels")) == ("PCMU", 8000, ["external"])


@dataclass(frozen=True, slots=True)
class AudioHookConfig:
    """Calls from Genesys Cloud's Audio Connector (docs/carriers.md), which connects to
    PUBLIC_URL/audiohook/media."""

    api_key: str = ""
    """API key of the integration, best as ${GENESYS_API_KEY}. Empty: it is not used."""
    client_secret: str = ""
    """Client secret of the integration (base64), best as ${GENESYS_CLIENT_SECRET}: requests are signed with
    it. Empty: the API key alone is checked."""


class AudioHook(Carrier):
    """One integration."""

    name = "audiohook"
    announced = False
    capabilities = Capabilities(
        clear=True, dtmf_in=True, dtmf_out=Means.TONES, hangup=Means.FLOW, transfer=True
    )

    def __init__(self, config: AudioHookConfig) -> None:
        """Raises ValueError for settings that cannot work."""
        self.config = config
        try:
            self._secret = b64decode(config.client_secret, validate=True)
        except Base64Error:
            raise ValueError("client_secret is not base64") from None
        self._sessions: WeakValueDictionary[str, AudioHookCore] = WeakValueDictionary()
        self._nonces: OrderedDict[str, None] = OrderedDict()

    def core(self) -> MediaStreamCore:
        """Of a new session."""
        return AudioHookCore(self._sessions)

    def check(self, request: WebRequest) -> None:
        """There are no webhooks."""
        raise Refused("there are no webhooks", 404)

    def check_socket(self, request: WebRequest) -> None:
        """Raise Refused unless it brings our API key and, where we have the secret, is signed."""
        if not same_secret(request.headers.get("X-API-KEY", ""), self.config.api_key):
            raise Refused("wrong API key", 401)
        if self._secret:
            self._check_signature(request)

    def _check_signature(self, request: WebRequest) -> None:
        given = request.headers.get("Signature-Input", "")
        head = re.fullmatch(r'sig1=(\(((?:"[^"]*"\s*)*)\)((?:;[a-z]+=(?:"[^"]*"|\d+))*))', given)
        sign = re.fullmatch(r"sig1=:([A-Za-z0-9+/=]*):", request.headers.get("Signature", ""))
        if head is None or sign is None:
            raise Refused("no signature", 401)
        names = re.findall(r'"([^"]*)"', head[2])
        settings = {n: v.strip('"') for n, v in re.findall(r';([a-z]+)=("[^"]*"|\d+)', head[3])}
        created, nonce = settings.get("created", ""), settings.get("nonce", "")
        if not set(names) >= SIGNED or not created or not nonce:
            raise Refused("too little is signed", 401)
        parts = urlsplit(request.url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        known = {"@request-target": target, "@authority": parts.netloc.lower()}
        lines = [f'"{name}": {known.get(name) or request.headers.get(name, "")}' for name in names]
        signed = "\n".join([*lines, f'"@signature-params": {head[1]}']).encode("utf-8", "surrogatepass")
        if not same_secret(sign[1], b64encode(hmac_digest(self._secret, signed, "sha256")).decode()):
            raise Refused("wrong signature", 401)
        if abs(request.at - int(created[:20])) > MAX_AGE_S:
            raise Refused("signed too long ago", 401)
        if nonce in self._nonces:
            raise Refused("used before", 401)
        self._nonces[nonce] = None
        if len(self._nonces) > SEEN:
            self._nonces.popitem(last=False)

    async def hook(self, hook: str, request: WebRequest, desk: Desk) -> WebAnswer:
        """There are none."""
        raise Refused("there are no webhooks", 404)

    def control(self, call: Announced, desk: Desk) -> CallControl:
        """Of one call."""
        return AudioHookControl(self._sessions, call.call_id)


class AudioHookControl:
    """Implements `sip.medialine.CallControl` for one session."""

    def __init__(self, sessions: "WeakValueDictionary[str, AudioHookCore]", session: str) -> None:
        self._sessions, self._session = sessions, session

    async def hangup(self, cause: HangupCause) -> None:
        """The goodbye has done it: the flow of Architect goes on."""

    async def press(self, digits: str) -> None:
        """Not asked: keys are pressed by sound."""

    async def transfer(self, order: Transfer) -> None:
        """Tell the flow of Architect where the caller shall go; it goes on when we leave."""
        core = self._sessions.get(self._session)
        if core is not None:
            core.output[TRANSFER] = order.target
