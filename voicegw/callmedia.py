"""What becomes known of a call's media: its quality while it lasts, and everything at the end."""

import asyncio

from media.leg import CallLeg
from media.quality import CallQuality
from voicegw.journal import CallJournal
from voicegw.metrics import Metrics

EVERY_S = 30.0  # often enough to see when a line became bad, seldom enough for a readable timeline


async def watch_media(leg: CallLeg, journal: CallJournal) -> None:
    """A `media` event every half minute, until cancelled. Legs that measure nothing have none."""
    measure = getattr(leg, "quality", None)
    while measure is not None:
        await asyncio.sleep(EVERY_S)
        journal.event("media", final=False, **measure().fields())


def sum_up(leg: CallLeg, journal: CallJournal, metrics: Metrics) -> None:
    """The call is over: its last `media` event, and the metrics."""
    stats, measure = getattr(leg, "stats", None), getattr(leg, "quality", None)
    fields: dict[str, object] = {} if stats is None else dict(stats.fields())
    if measure is not None:
        quality: CallQuality = measure()
        fields |= quality.fields()
        metrics.quality(quality)
    if fields:
        metrics.media(fields)
        journal.event("media", final=True, **fields)
