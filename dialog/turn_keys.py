"""Keys that a caller has pressed and that no turn has taken yet. Times are milliseconds of call time."""

from dialog.turn import TurnPolicy


class Keys:
    """A queue of keys: people who know a menu type ahead, across several questions."""

    def __init__(self) -> None:
        self._keys = ""
        self._at = 0  # of the last one

    def __bool__(self) -> bool:
        return bool(self._keys)

    def press(self, digit: str, now: int, most: int) -> bool:
        """One more. False: `most` wait already, so it is dropped."""
        self._at = now
        if len(self._keys) >= most:
            return False
        self._keys += digit
        return True

    def flush(self) -> int:
        """Forget all; returns how many there were."""
        count, self._keys = len(self._keys), ""
        return count

    def due(self, policy: TurnPolicy) -> int:
        """When they are an answer: at once if they are complete, else after a pause."""
        finish = policy.dtmf_finish
        complete = len(self._keys) >= policy.dtmf_max or bool(finish and finish in self._keys)
        return 0 if complete else self._at + policy.dtmf_pause_ms

    def take(self, policy: TurnPolicy) -> str:
        """The answer. What was typed after it stays."""
        keys, finish = self._keys, policy.dtmf_finish
        end = keys.find(finish) if finish else -1
        if 0 < end <= policy.dtmf_max:
            text, self._keys = keys[:end], keys[end + 1 :]
            return text
        text, self._keys = keys[: policy.dtmf_max], keys[policy.dtmf_max :]
        if finish and text and self._keys.startswith(finish):
            self._keys = self._keys[1:]
        return text  # a finish key alone is an answer, too
