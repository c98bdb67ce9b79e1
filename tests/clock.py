"""The virtual clock that calls are replayed on is the one that tests run on."""

from voicegw.replay.clock import VirtualLoop, run

__all__ = ["VirtualLoop", "run"]
