"""Ears of a call that the recogniser had no room for."""

import asyncio

import pytest

from media.errors import ProviderError
from voicegw.ears import DeafEars


def test_they_fail_once_and_for_good_whatever_the_engine_says_of_later_calls() -> None:
    """Whoever listens on after an error that may pass would ask them for ever, and nothing else would run."""

    async def scene() -> None:
        ears = DeafEars(ProviderError("no room", retryable=True))
        with pytest.raises(ProviderError, match="no room") as raised:
            await anext(ears)
        assert not raised.value.retryable
        with pytest.raises(StopAsyncIteration):
            await anext(ears)

    asyncio.run(scene())
