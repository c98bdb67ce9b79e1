"""The wall clock, for the application; everything else counts from the start of a call."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo


def utc() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def local(timezone: str) -> datetime:
    """Now, in that time zone (IANA name); "": this machine's."""
    return datetime.now(ZoneInfo(timezone)) if timezone else datetime.now().astimezone()
