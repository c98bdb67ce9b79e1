"""Twilio's REST interface, as far as calls need it: place, end, redirect, record.

https://www.twilio.com/docs/voice/api/call-resource
"""

from dataclasses import dataclass
from urllib.parse import quote

from sip.carrierrest import Answer, Ask, CarrierError, RestClient, unless_over

GONE = {"20404", "21220"}  # the call is over; whatever was asked of it came too late

# Code of Twilio -> SIP status, and what to do about it. https://www.twilio.com/docs/api/errors
ERRORS: dict[str, tuple[int, str]] = {
    "10001": (503, "the account is not active: see its billing in Twilio's console"),
    "10004": (
        503,
        "too many calls at once for this account: ask Twilio for more, or lower outbound.max_calls",
    ),
    "13224": (404, "the called number does not exist"),
    "13225": (403, "the called number is forbidden by Twilio"),
    "13227": (403, "calls to that country are not allowed: Voice > Settings > Geo permissions"),
    "20003": (401, "account_sid and auth_token do not belong together, or the token was changed"),
    "20005": (401, "the account is suspended or closed"),
    "20008": (401, "test credentials make no calls: use the live ones"),
    "20429": (503, "too many requests at once: Twilio limits calls per second"),
    "21201": (484, "there is no number to call"),
    "21203": (403, "calls to that country are not allowed: Voice > Settings > Geo permissions"),
    "21205": (
        500,
        "Twilio cannot use our webhook's address: http.public_url must be reachable from the internet",
    ),
    "21210": (403, "the caller id is no number of this account, and not verified: twilio.caller"),
    "21211": (484, "the called number is not valid: write it as +49..."),
    "21212": (403, "the caller id is not valid: twilio.caller, as +49..."),
    "21213": (403, "there is no caller id: set twilio.caller"),
    "21214": (404, "the called number cannot be reached"),
    "21215": (403, "calls to that number are not allowed: Voice > Settings > Geo permissions"),
    "21216": (403, "Twilio does not let this account call that number"),
    "21217": (484, "the called number is not valid: write it as +49..."),
    "21219": (403, "a trial account may call verified numbers only: verify it, or upgrade"),
    "21220": (481, "the call is over"),
    "21263": (403, "the caller id is on the do-not-originate list"),
    "21264": (403, "the caller id is no number of this account: twilio.caller"),
    "21401": (400, "the number is not valid"),
    "21608": (403, "a trial account may call verified numbers only"),
}


@dataclass(frozen=True, slots=True)
class Account:
    """Whose calls these are."""

    sid: str
    url: str = "https://api.twilio.com"
    path: str = "/2010-04-01"

    @property
    def calls(self) -> str:
        """Address of the calls resource."""
        return f"{self.url}{self.path}/Accounts/{quote(self.sid, safe='')}/Calls"


class TwilioRest:
    """Requests about calls. All raise CarrierError with words that help."""

    def __init__(self, client: RestClient, account: Account, name: str = "Twilio") -> None:
        self.client, self._account, self._name = client, account, name

    async def create(self, fields: list[tuple[str, str]]) -> str:
        """Place a call; returns its SID."""
        answer = await self._post(f"{self._account.calls}.json", fields, again=False)
        sid = answer.body.get("sid")
        if not isinstance(sid, str):
            raise CarrierError(f"{self._name} answered {answer.status} without the call's sid", answer.status)
        return sid

    async def update(self, call: str, fields: list[tuple[str, str]]) -> bool:
        """Change a live call; False: it is over already."""
        url = f"{self._account.calls}/{quote(call, safe='')}.json"
        return await unless_over(self._post(url, fields, again=True), GONE)

    async def hang_up(self, call: str, status: str = "completed") -> None:
        """End a call; "canceled" only if it has not been answered. One that is gone is fine."""
        await self.update(call, [("Status", status)])

    async def record(self, call: str, callback: str) -> None:
        """Record from now on, both sides on channels of their own."""
        url = f"{self._account.calls}/{quote(call, safe='')}/Recordings.json"
        fields = [("RecordingChannels", "dual"), ("RecordingStatusCallback", callback)]
        await self._post(url, [*fields, ("RecordingStatusCallbackEvent", "completed absent")], again=False)

    async def close(self) -> None:
        """Close connections."""
        await self.client.close()

    async def _post(self, url: str, fields: list[tuple[str, str]], *, again: bool) -> Answer:
        answer = await self.client.ask(Ask("POST", url, form=fields, again=again))
        if answer.status >= 300:
            raise self._error(answer)
        return answer

    def _error(self, answer: Answer) -> CarrierError:
        code = str(answer.body.get("code") or "")
        said = answer.body.get("message")
        words = [f"{self._name} error {code}" if code else f"{self._name} answered {answer.status}"]
        words += [said] if isinstance(said, str) and said else []
        words += [ERRORS[code][1]] if code in ERRORS else []
        return CarrierError(": ".join(words), answer.status, code)


def sip_status(error: CarrierError) -> int:
    """The SIP status that fits best; 0: Twilio cannot be reached."""
    if error.code in ERRORS:
        return ERRORS[error.code][0]
    return 0 if error.status == 0 else 503 if error.status >= 500 or error.status == 429 else 500
