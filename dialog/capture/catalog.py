"""The captures that a flow can name. An option of a capture is a field of its dataclass."""

from dialog.capture.base import Capture
from dialog.capture.clock import Clock
from dialog.capture.day import Day
from dialog.capture.digits import Digits, Number
from dialog.capture.name import Name
from dialog.capture.simple import Choice, Phrase, YesNo

CAPTURES: dict[str, type[Capture]] = {
    "yes_no": YesNo,
    "digits": Digits,
    "number": Number,
    "day": Day,
    "time": Clock,
    "name": Name,
    "choice": Choice,
    "phrase": Phrase,
}
