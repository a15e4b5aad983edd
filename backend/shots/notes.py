"""What is noted of every picture beside its people, for the end of the job: by what shots and cameras are found."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backend.camera.background import Background, BackgroundFrame, BackgroundTracker
from backend.shots.cuts import ChangeWatch, signature
from blender_addon.shared.frames import Frame

_PARTS = ("watch", "ground")


class Notes:
    """Of a clip, frame by frame: `sign` when a frame comes, `settle` once its people are known."""

    def __init__(self) -> None:
        self._watch = ChangeWatch()
        self._ground: BackgroundTracker | None = None
        self._recalled: dict[str, np.ndarray] = {}
        self._sudden: set[int] = set()
        self._signed: dict[int, np.ndarray] = {}
        self._times: list[float] = []
        self._frames: list[int] = []
        self._signatures: list[np.ndarray] = []
        self._seen: list[BackgroundFrame] = []

    def sign(self, frame: Frame) -> None:
        """A frame has come, the one after the last."""
        signed = self._signed[frame.index] = signature(frame.image)
        if self._watch.see(signed, frame.time_s):
            self._sudden.add(frame.index)

    def sudden(self, frame: Frame) -> bool:
        """Whether the picture has changed so suddenly with it that people must be looked for anew."""
        return frame.index in self._sudden

    def settle(self, frame: Frame, people: np.ndarray) -> None:
        """The people of a frame are known: `people` (k, 4) x, y, w, h pixels."""
        if self._ground is None:
            height, width = frame.image.shape[:2]
            self._ground = BackgroundTracker(width, height)
            if self._recalled:
                self._ground.recall(self._recalled)
        sudden = self.sudden(frame)
        self._sudden.discard(frame.index)
        self._frames.append(frame.index)
        self._times.append(frame.time_s)
        self._signatures.append(self._signed.pop(frame.index))
        self._seen.append(self._ground.see(frame, people, sudden))

    def take(self) -> dict[str, object]:
        """What was noted since the last time, as the fields of a `Chunk` of that name."""
        noted = {
            "times": np.array(self._times),
            "signatures": np.array(self._signatures, np.uint8),
            "background": Background.of(self._frames, self._seen).to_arrays(),
        }
        self._frames, self._times, self._signatures, self._seen = [], [], [], []
        return noted

    def memory(self) -> dict[str, np.ndarray]:
        """What `recall` needs, for the memory of a `Chunk`."""
        parts = self._watch.memory(), {} if self._ground is None else self._ground.memory()
        return {
            f"{part}/{name}": a for part, kept in zip(_PARTS, parts, strict=True) for name, a in kept.items()
        }

    def recall(self, memory: Mapping[str, np.ndarray]) -> None:
        """Go on where the notes with this memory stood."""
        watch, self._recalled = (
            {n.removeprefix(f"{part}/"): a for n, a in memory.items() if n.startswith(f"{part}/")}
            for part in _PARTS
        )
        self._watch.recall(watch)


__all__ = ["Notes"]
