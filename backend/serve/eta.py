"""How long a stage will still take, from how long it has taken so far."""

from __future__ import annotations

import time
from collections.abc import Callable


class Eta:
    """`clock`: seconds, never going back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage: str | None = None
        self._began, self._first = 0.0, 0

    def restart(self) -> None:
        """Forget the rate: after a pause, whose length says nothing of it."""
        self._stage = None

    def seconds_left(self, stage: str, done: int, total: int | None) -> float | None:
        """Seconds until `done` reaches `total` at the mean rate of this stage; None while unknown."""
        now = self._clock()
        if stage != self._stage:
            # The first unit pays for warming up, so counting begins after it.
            self._stage, self._began, self._first = stage, now, done
        if total is None or done <= self._first or now <= self._began:
            return None
        rate = (done - self._first) / (now - self._began)
        return max(0, total - done) / rate
