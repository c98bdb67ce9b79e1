"""An STT engine whose preparation never ends."""

import asyncio
import sys
from dataclasses import dataclass

from dialog.types import Domain
from tests.voicegw.fakes import FakeStt


@dataclass(frozen=True, slots=True)
class Config:
    """Nothing to set."""


class SlowStt(FakeStt):
    async def prepare(self, domain: Domain) -> None:
        print("preparing for ever", file=sys.stderr, flush=True)
        await asyncio.Event().wait()


def create(config: Config) -> SlowStt:
    return SlowStt()
