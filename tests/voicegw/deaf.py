"""An STT engine of somebody else: `Config` and `create`."""

from dataclasses import dataclass

from tests.voicegw.fakes import FakeStt


@dataclass(frozen=True, slots=True)
class Config:
    """Hears nothing."""

    room: int = 1000
    """Calls at a time."""
    api_key: str = ""
    """Not needed."""


def create(config: Config) -> FakeStt:
    return FakeStt(config.room)
