"""Many hands: pieces of work that know nothing of one another, done side by side on the cores that there are.

Results come back in the order of the pieces, and no piece sees another, so that it makes no difference how many hands
there are. The pieces are numpy, OpenCV and ONNX Runtime, which let go of Python's lock while they compute. PyTorch has
threads of its own in every thread that calls it: little is left to it here, and nothing that is worth sharing out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Self, TypeVar

import cv2

from blender_addon.shared.threads import usable_cores

R = TypeVar("R")


class Hands:
    """`count`: how many; 0 for as many as the process may use cores. To be used in a `with` block; outside of one, or
    with a single hand, there are no threads.
    """

    def __init__(self, count: int = 1) -> None:
        self.count = count or usable_cores()
        self._pool: ThreadPoolExecutor | None = None
        self._aside: ThreadPoolExecutor | None = None
        self._opencv = ExitStack()

    def map(self, work: Callable[..., R], *columns: Iterable[Any]) -> list[R]:
        """`work` for each row of `columns`, as the built-in `map`. Raises what the first row that fails raises."""
        if self._pool is None:
            return [work(*row) for row in zip(*columns, strict=True)]
        return list(self._pool.map(work, *columns))

    def batches(self, work: Callable[..., R], size: int, *columns: Sequence[Any]) -> list[R]:
        """`work` for each `size` rows of `columns`, cut out of them as they are."""
        rows = range(0, len(columns[0]), size)
        return self.map(lambda i: work(*(column[i : i + size] for column in columns)), rows)

    def begin(self, work: Callable[..., R], *arguments: Any) -> Future[R]:
        """Begin work that may itself use `map`; with one hand it is done when this returns."""
        if self._aside is not None:
            return self._aside.submit(work, *arguments)
        done: Future[R] = Future()
        try:
            done.set_result(work(*arguments))
        except Exception as error:
            done.set_exception(error)
        return done

    def __enter__(self) -> Self:
        self._opencv.enter_context(plain_opencv())
        if self.count > 1:
            self._pool = ThreadPoolExecutor(self.count, "hand")
            self._aside = ThreadPoolExecutor(1, "aside")
        return self

    def __exit__(self, *_: object) -> None:
        """Work that has begun is waited for, work that waits is dropped."""
        for pool in (self._aside, self._pool):
            if pool is not None:
                pool.shutdown(cancel_futures=True)
        self._pool = self._aside = None
        self._opencv.close()


@contextmanager
def plain_opencv() -> Iterator[None]:
    """OpenCV without threads of its own for a while: what is done side by side already it would share out once more."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


ONE = Hands(1)
"""No threads at all."""
