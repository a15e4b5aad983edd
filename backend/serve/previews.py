"""Single pictures in which a client wants to see the people before it opens a job, beside the jobs at work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from backend.errors import JobError
from backend.serve.aside import Asides, SideWorker
from backend.serve.news import News, Said
from backend.serve.road import Road
from blender_addon.shared import wire

MOST_AT_ONCE = 8
MAX_SIDE = 16384


class PreviewWorker(SideWorker):
    """Says "preview" or "error"."""

    def __init__(
        self, ticket: str, image: np.ndarray, options: Any, road: Road, say: Callable[[Said], None]
    ) -> None:
        super().__init__(ticket, say)
        self._image, self._options, self._road = image, options, road

    def work(self) -> None:
        """See SideWorker."""
        seen = self._road.preview(self._image, self._options, lambda: self.stopped)
        if seen is None:
            raise JobError("cancelled", "The preview was cancelled.")
        self.say("preview", preview_arrays(seen))


class Previews(Asides):
    """Every preview that has not ended."""

    def __init__(self, road: Road, send: Callable[..., bool], news: News) -> None:
        super().__init__(
            "preview", send, MOST_AT_ONCE, "Too many pictures are being looked at: wait for their end."
        )
        self._road, self._news = road, news

    def open(self, client: Any, message: wire.Message) -> None:
        """Begin one. Raises WireError or JobError."""
        sizes = message.check_arrays(wire.FRAME)
        options = message.want("options", dict)
        if not (1 <= sizes["w"] <= MAX_SIDE and 1 <= sizes["h"] <= MAX_SIDE):
            raise wire.WireError(
                f"A picture of {sizes['w']} x {sizes['h']} pixels cannot be looked at: it must have 1 to {MAX_SIDE} "
                "each way."
            )
        if self._road.preview is None:
            raise JobError(
                "no_preview", "This backend cannot show people before a job: install its newest release."
            )
        checked, image = self._road.options(options), message.arrays["image"]
        self.begin(
            client,
            message.seq,
            lambda ticket: PreviewWorker(ticket, image, checked, self._road, self._news.say),
        )


def preview_arrays(seen: Any) -> dict[str, np.ndarray]:
    """A `backend.stills.preview.Seen` as the arrays of wire.PREVIEW."""
    outlines = [np.asarray(o, np.float32).reshape(-1, 2) for o in seen.outlines]
    arrays = {
        "boxes": np.asarray(seen.boxes, np.float32).reshape(-1, 4),
        "scores": np.asarray(seen.scores, np.float32),
        "outlines": np.concatenate([np.zeros((0, 2), np.float32), *outlines]),
        "offsets": np.cumsum([0, *map(len, outlines)]),
    }
    return {name: np.ascontiguousarray(arrays[name], spec[0]) for name, spec in wire.PREVIEW.items()}
