"""What Twilio's REST interface says when it refuses. https://www.twilio.com/docs/api/errors"""

GONE = frozenset({"20404", "21220"})  # the call is over; whatever was asked of it came too late

# Code of Twilio -> SIP status of a call that could not be placed, and what to do about it.
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
