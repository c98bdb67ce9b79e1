"""Twilio Media Streams, bidirectional: the messages of the socket that `<Connect><Stream>` opens.

https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

import json
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from typing import Any

from sip.errors import RemoteProtocolError
from sip.mediacore import (
    Audio,
    Encoding,
    Ignored,
    Marked,
    MediaStreamCore,
    Message,
    Started,
    Stopped,
    StreamEvent,
    digit,
    member,
    number,
    payload,
    read_json,
    strings,
    text,
)

CALLER, CALLEE = "voicegw_from", "voicegw_to"  # parameters that our own answer document passes on


class TwilioCore(MediaStreamCore):
    """One stream. Everything but `start` names its stream; what names another is not ours."""

    encoding = Encoding("PCMU", 8000)  # the only one that Twilio speaks

    def __init__(self) -> None:
        self._sid = ""
        self._audio = ""  # what stands before a payload

    def receive(self, message: Message) -> Sequence[StreamEvent]:
        """Events of one message."""
        body = read_json(message)
        event = body.get("event")
        if event == "start":
            return [self._start(body)]
        if event == "connected":
            return []
        if not self._sid and event == "media":  # it may come early; there is no other stream on this socket
            return [self._media(member(body, "media"))]
        if body.get("streamSid") != self._sid:
            return [Ignored("another stream")]
        match event:
            case "media":
                return [self._media(member(body, "media"))]
            case "mark":
                return [Marked(text(member(body, "mark"), "name"))]
            case "dtmf":
                return digit(member(body, "dtmf").get("digit"))
            case "stop":
                return [Stopped()]
        return [Ignored("unknown event")]

    def audio(self, payload: bytes) -> Message:
        """A media message; any length of sound will do."""
        return self._audio + b2a_base64(payload, newline=False).decode() + '"}}'

    def mark(self, name: str) -> Message:
        """It comes back when all sound before was played, or cleared."""
        return json.dumps({"event": "mark", "streamSid": self._sid, "mark": {"name": name}})

    def clear(self) -> Message:
        """Empty Twilio's buffer."""
        return json.dumps({"event": "clear", "streamSid": self._sid})

    def _start(self, body: Mapping[str, Any]) -> StreamEvent:
        start = member(body, "start")
        if self._sid:
            return Ignored("a second start")
        sid, call_sid = text(start, "streamSid"), text(start, "callSid")
        form = start.get("mediaFormat")
        if isinstance(form, dict) and form.get("encoding", "audio/x-mulaw") != "audio/x-mulaw":
            raise RemoteProtocolError(f"encoding {form.get('encoding')!r} is not Twilio's audio/x-mulaw", 488)
        self._sid = sid
        self._audio = f'{{"event":"media","streamSid":{json.dumps(sid)},"media":{{"payload":"'
        given = strings(start.get("customParameters"))
        caller, callee = given.pop(CALLER, ""), given.pop(CALLEE, "")
        return Started(sid, call_sid, self.encoding, self.encoding, caller, callee, given)

    def _media(self, media: Mapping[str, Any]) -> StreamEvent:
        if media.get("track", "inbound") != "inbound":
            return Ignored("another track")
        return Audio(payload(media), number(media, "chunk"))
