"""What Twilio signs, and what it is answered: X-Twilio-Signature and TwiML.

https://www.twilio.com/docs/usage/security, https://www.twilio.com/docs/voice/twiml
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import parse_qs, urlsplit, urlunsplit
from xml.etree.ElementTree import Element, SubElement

from sip.carrier import Refused, WebRequest, document
from sip.webpeer import same_secret

PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}
LONGEST_PARAMETER = 500  # characters; Twilio drops the call for more


def signature(token: str, url: str, fields: Iterable[tuple[str, str]] = ()) -> str:
    """X-Twilio-Signature. Names are sorted; of a name that comes again, each value once, sorted too."""
    text = url + "".join(name + value for name, value in sorted(set(fields)))
    return b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def addresses(url: str) -> Iterator[str]:
    """The ways in which a URL may have been written when it was signed: with its port, and without."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    bare = host if host.endswith("]") else host.rsplit(":", 1)[0]
    for netloc in dict.fromkeys((host, bare, f"{bare}:{parts.port or PORTS.get(parts.scheme, 443)}")):
        yield urlunsplit(parts._replace(netloc=netloc))


def check(token: str, request: WebRequest, header: str = "X-Twilio-Signature") -> None:
    """Raise Refused unless the webhook is signed with our token."""
    given = request.headers.get(header, "")
    digests = parse_qs(urlsplit(request.url).query).get("bodySHA256")
    fields: list[tuple[str, str]] = []
    if digests:  # a body of JSON: the URL carries its digest, and is all that is signed
        if not same_secret(digests[0].lower(), hashlib.sha256(request.body).hexdigest()):
            raise Refused("the body is not the one that was signed")
    elif request.method == "POST":
        fields = request.form
    if not _signed(token, request.url, fields, given):
        raise Refused("no signature" if not given else "wrong signature")


def check_socket(token: str, request: WebRequest, header: str = "X-Twilio-Signature") -> None:
    """Raise Refused unless the WebSocket upgrade is signed. Its wss URL is what is signed, or the https one,
    with a slash at the end or without."""
    given = request.headers.get(header, "")
    scheme, _, rest = request.url.partition("://")
    secure = scheme in {"https", "wss"}
    for name in ("wss", "https") if secure else ("ws", "http", "wss", "https"):
        for url in (f"{name}://{rest}", f"{name}://{rest}/"):
            if _signed(token, url, (), given):
                return
    raise Refused("no signature" if not given else "wrong signature")


def _signed(token: str, url: str, fields: Iterable[tuple[str, str]], given: str) -> bool:
    fields = tuple(fields)
    right = [same_secret(given, signature(token, u, fields)) for u in addresses(url)]
    return bool(token) and any(right)


# TwiML


def stream(url: str, parameters: Mapping[str, str], status_url: str = "", codec: str = "") -> str:
    """Connect the call to our socket. Nothing follows, so the call ends when we close it."""
    attributes = {"url": url}
    if status_url:
        attributes |= {"statusCallback": status_url, "statusCallbackMethod": "POST"}
    if codec:
        attributes["codec"] = codec
    connect = Element("Connect")
    element = SubElement(connect, "Stream", attributes)
    for name, value in parameters.items():
        SubElement(element, "Parameter", {"name": name, "value": value[:LONGEST_PARAMETER]})
    return document(connect)


def reject(reason: str) -> str:
    """Refuse the call before it is answered: "busy" or "rejected"."""
    return document(Element("Reject", {"reason": reason}))


def dial(target: str, caller: str = "", timeout_s: int = 0) -> str:
    """Connect the call to somebody else."""
    attributes = {"callerId": caller} if caller else {}
    if timeout_s:
        attributes["timeout"] = str(timeout_s)
    sip = target.lower().startswith(("sip:", "sips:"))
    element = Element("Dial", attributes)
    SubElement(element, "Sip" if sip else "Number").text = target
    return document(element)


def conference(room: str, *, waits: bool, say: str = "", language: str = "") -> str:
    """Bring the call into a room. Who `waits` hears music until the other is there; the room closes with
    whoever leaves first."""
    said = Element("Say", {"language": language} if language else {})
    said.text = say
    attributes = {"beep": "false", "endConferenceOnExit": "true"}
    attributes["startConferenceOnEnter"] = "false" if waits else "true"
    dial = Element("Dial")
    SubElement(dial, "Conference", attributes).text = room
    return document(said, dial) if say else document(dial)


def nothing() -> str:
    """No more instructions."""
    return document()
