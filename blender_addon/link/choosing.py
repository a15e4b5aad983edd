# SPDX-License-Identifier: GPL-3.0-or-later
"""Choosing people in a frame of a clip: which frame is shown, who is in it, who is chosen. Nothing is drawn here.

`pump` moves it on: it reads the clip and talks to the backend a little at a time. The other methods say what the user
has done. No bpy.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from ..shared.frames import Clip, Frame
from .client import Client
from .previewjob import PreviewJob, SeenPerson

PAUSE_S = 0.25
"""Nobody is looked for in a frame that is shown for a shorter time."""
NEAR = 60
"""A frame at most so many ahead is reached by reading on; for any other one reading begins again."""
KEPT_BYTES = 96 << 20
LEAST_BOX = 0.02
"""Sides of a drawn box, of the picture's larger side, at least: anything smaller was a click."""
SAME = 0.3
"""Least intersection over union of the boxes of somebody who stays chosen from frame to frame."""
KEYS = {
    "LEFT_ARROW": ("step", -1),
    "RIGHT_ARROW": ("step", 1),
    "DOWN_ARROW": ("second", -1),
    "UP_ARROW": ("second", 1),
    "HOME": ("first", 0),
    "A": ("all", 0),
    "RET": ("start", 0),
    "NUMPAD_ENTER": ("start", 0),
    "ESC": ("leave", 0),
    "RIGHTMOUSE": ("leave", 0),
}
"""What keys do, by Blender's names: action and its direction; digits choose by number, see `action_of`."""
_DIGITS = ("ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
HELP = (
    "Click: choose a person    Drag: a box around somebody else    A: everybody, nobody    Left, Right: next frame    "
    "Up, Down: one second    Enter: start    Esc: back"
)

SAYS = {
    "going": "Going to frame {frame} ...",
    "looking": "Looking for people ...",
    "starting": "Starting the backend ...",
    "nobody": "Nobody was found in this frame: go to another one, or drag a box around somebody.",
    "one found": "1 person found",
    "found": "{count} people found",
    "none chosen": "{found}, nobody chosen yet: click on whom you want.",
    "one chosen": "{found}, 1 chosen: Start follows only this one.",
    "chosen": "{found}, {count} chosen: Start follows only these.",
}
"""What `PeopleChooser.says` is made of."""


class Starter(Protocol):
    """What a chooser needs of `work.backend.Backend`."""

    def pump(self, budget_s: float) -> Client | None: ...


def action_of(key: str) -> tuple[str, int] | None:
    """What a key means, such as ("step", 1) or ("toggle", 0); None for nothing."""
    name = key.removeprefix("NUMPAD_")
    if key.startswith("NUMPAD_") and name.isdigit() and name != "0":
        return "toggle", int(name) - 1
    if key in _DIGITS:
        return "toggle", _DIGITS.index(key)
    return KEYS.get(key)


class PeopleChooser:
    """The choice of people in one frame of a clip, while it is being made."""

    def __init__(
        self,
        backend: Starter,
        clip: Clip,
        options: Mapping[str, object],
        before: Mapping | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clip`: closed by `close`; `options`: of the import; `before`: an earlier choice, as `choice` gives it."""
        self.clip, self.options = clip, dict(options)
        self.frame = int(before["frame"]) if before else 0
        """Index of the frame that the user wants."""
        self.count = clip.frame_count
        """Frames of the clip; None while nobody knows."""
        self.shown: int | None = None
        """Index of the frame that is shown; None before the first."""
        self.picture: np.ndarray | None = None
        """(H, W, 3) uint8 RGB, the frame that is shown."""
        self.people: list[SeenPerson] | None = None
        """Everybody in the wanted frame, from left to right; None until they are known."""
        self.chosen: set[int] = set()
        """Rows of `people` that are chosen."""
        self.hover: int | None = None
        """The row of `people` under the pointer."""
        self.drawing: np.ndarray | None = None
        """(4,) x, y of the beginning and of the end of a box that is being drawn, pixels; None while none is."""
        self.error: str | None = None
        """One sentence once it cannot go on."""
        self._backend, self._clock = backend, clock
        self._wanted = [np.array(box, float) for box in before["boxes"]] if before else []
        self._frames: Iterator[Frame | None] | None = None
        self._moved = clock() - PAUSE_S
        self._job: PreviewJob | None = None
        self._connected = False
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._known: dict[int, list[SeenPerson]] = {}
        self._drawn: dict[int, list[SeenPerson]] = {}
        self._before = self.frame if before else None

    # What happens by itself ---------------------------------------------------------------------------

    def pump(self, budget_s: float = 0.01) -> bool:
        """Do about `budget_s` seconds of work; True when something changed that is worth drawing. Raises ClipError,
        BackendMissing and BackendFailed with one sentence."""
        if self.error is not None:
            return False
        before = (self.shown, self.people, self._connected, self._job is None)
        if self.shown != self.frame:
            self._read(self._clock() + budget_s)
        client = self._backend.pump(budget_s)
        self._connected = client is not None
        if client is not None and self.shown == self.frame and self.people is None:
            self._look(client)
        return before != (self.shown, self.people, self._connected, self._job is None)

    def close(self) -> None:
        """Let go of the clip and of what was asked."""
        self._drop()
        self._rewind()
        self.clip.close()

    # What the user does -------------------------------------------------------------------------------

    def go_to(self, frame: int) -> None:
        """Show another frame."""
        last = max(self.count - 1, 0) if self.count is not None else frame
        frame = min(max(frame, 0), last)
        if frame == self.frame and self.shown == frame:
            return
        if self.ready:
            self._wanted = [p.box for p in self.chosen_people()]
        self._drop()
        self.frame, self.people, self.chosen, self.hover, self.drawing = frame, None, set(), None, None
        self._moved = self._clock()
        if frame in self._kept:
            self._show(frame, self._kept[frame])

    def act(self, action: str, way: int) -> None:
        """Do one of the actions of `KEYS`, all but "start" and "leave"."""
        if action == "step":
            self.go_to(self.frame + way)
        elif action == "second":
            self.go_to(self.frame + way * max(1, round(self.clip.fps)))
        elif action == "first":
            self.go_to(0)
        elif action == "all":
            everybody = set(range(len(self.people or ())))
            self.chosen = set() if self.chosen == everybody else everybody
        elif action == "toggle" and way < len(self.people or ()):
            if self._is_drawn(self.people[way]):
                self._rub_out(way)
            else:
                self.chosen = self.chosen ^ {way}

    def draw(self, x: float, y: float, begin: bool = False) -> None:
        """Draw a box to this place of the picture, pixels, or begin one there."""
        if not self.ready or (self.drawing is None and not begin):
            return
        place = np.clip([x, y], 0, [self.clip.width - 1, self.clip.height - 1])
        self.drawing = np.concatenate([place if begin else self.drawing[:2], place])

    def end_drawing(self) -> None:
        """The box that was drawn is somebody, and chosen, unless it is no larger than a click."""
        if self.drawing is None:
            return
        low, high = np.minimum(*np.split(self.drawing, 2)), np.maximum(*np.split(self.drawing, 2))
        self.drawing = None
        if (high - low).min() >= LEAST_BOX * max(self.clip.width, self.clip.height) and self.ready:
            self._add_drawn(np.concatenate([low, high - low]))
            self.chosen = self.chosen | {len(self.people) - 1}

    # What there is to be seen -------------------------------------------------------------------------

    @property
    def outlines(self) -> list[np.ndarray]:
        """Of everybody in the picture that is shown, (k, 2) pixels each."""
        return [p.outline for p in self.people or ()]

    @property
    def ready(self) -> bool:
        """Whether the people of the frame are known."""
        return self.people is not None

    def chosen_people(self) -> list[SeenPerson]:
        """The chosen ones from left to right."""
        return [self.people[i] for i in sorted(self.chosen)] if self.people else []

    def choice(self) -> dict | None:
        """The import's option `people`; None when nobody is chosen."""
        boxes = [[round(float(v), 1) for v in p.box] for p in self.chosen_people()]
        return {"frame": self.frame, "boxes": boxes} if boxes else None

    def says(self, words: Callable[..., str] = str.format) -> str:
        """How far it is, in one line. `words(text, **values)` puts values into one of `SAYS`; it may translate it."""
        if self.shown != self.frame:
            return words(SAYS["going"], frame=self.frame)
        if self.people is None:
            return words(SAYS["looking" if self._connected else "starting"])
        if not self.people:
            return words(SAYS["nobody"])
        count, chosen = len(self.people), len(self.chosen)
        found = words(SAYS["one found" if count == 1 else "found"], count=count)
        kind = ("none chosen", "one chosen")[chosen] if chosen < 2 else "chosen"
        return words(SAYS[kind], found=found, count=chosen)

    # In between ---------------------------------------------------------------------------------------

    def _read(self, deadline: float) -> None:
        """Bring the wanted frame nearer, at least by one picture."""
        if self._frames is None or not self.clip.passed <= self.frame < self.clip.passed + NEAR:
            self._rewind()
            self._frames = self.clip.pieces(self.frame)
        while self.shown != self.frame:
            try:
                frame = next(self._frames)
            except StopIteration:
                self._found_end()
                return
            if frame is not None and frame.index == self.frame:
                self._show(frame.index, frame.image)
            if self._clock() > deadline:
                return

    def _found_end(self) -> None:
        """The clip is shorter than it says."""
        self.count = self.clip.passed
        self._rewind()
        if self.count == 0:
            self.error = f"{self.clip.name} holds no picture that can be read; export the clip again."
        self.frame = max(self.count - 1, 0)

    def _show(self, index: int, image: np.ndarray) -> None:
        self.shown, self.picture = index, image
        self._kept[index] = image
        self._kept.move_to_end(index)
        while len(self._kept) > 1 and sum(one.nbytes for one in self._kept.values()) > KEPT_BYTES:
            self._kept.popitem(last=False)
        if index in self._known:
            self._meet(self._known[index])

    def _look(self, client: Client) -> None:
        """Ask for the people of the frame that is shown, or take what has come."""
        if self._job is None:
            if self._clock() - self._moved >= PAUSE_S:
                self._job = PreviewJob.ask(client, self.picture, self.options)
        elif self._job.state == "done":
            self._known[self.frame], self._job = self._job.people, None
            self._meet(self._known[self.frame])
        elif self._job.finished:
            self.error = self._job.error or "The backend gave no people; press Choose People once more."

    def _meet(self, people: list[SeenPerson]) -> None:
        """These are the people of the frame; whoever was chosen before still is, and so are boxes that were drawn."""
        drawn = self._drawn.get(self.frame, [])
        self.people = [*people, *drawn]
        self.chosen = set(still_there(self._wanted, [p.box for p in people]))
        self.chosen |= set(range(len(people), len(self.people)))
        if self._before == self.frame:
            # Of an earlier choice those who are not found are boxes that were drawn then.
            self._before = None
            for box in self._wanted:
                if max((_overlap(box, p.box) for p in self.people), default=0.0) < SAME:
                    self._add_drawn(box)
                    self.chosen.add(len(self.people) - 1)

    def _add_drawn(self, box: np.ndarray) -> None:
        x, y, w, h = (float(v) for v in box)
        outline = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], np.float32)
        somebody = SeenPerson(np.array(box, np.float32), 1.0, outline)
        self._drawn.setdefault(self.frame, []).append(somebody)
        self.people = [*self.people, somebody]

    def _is_drawn(self, person: SeenPerson) -> bool:
        return any(person is one for one in self._drawn.get(self.frame, ()))

    def _rub_out(self, row: int) -> None:
        person = self.people[row]
        self._drawn[self.frame] = [one for one in self._drawn[self.frame] if one is not person]
        self.people = [one for one in self.people if one is not person]
        self.chosen = {i - (i > row) for i in self.chosen if i != row}
        self.hover = None

    def _drop(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self._job = None

    def _rewind(self) -> None:
        if self._frames is not None:
            self._frames.close()
        self._frames = None


def still_there(wanted: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> list[int]:
    """Rows of `boxes` (x, y, w, h) on which a wanted one lies; each is taken once, the best first."""
    pairs = [(_overlap(w, b), i, j) for i, w in enumerate(wanted) for j, b in enumerate(boxes)]
    taken: dict[int, int] = {}
    for share, i, j in sorted(pairs, reverse=True):
        if share >= SAME and i not in taken and j not in taken.values():
            taken[i] = j
    return sorted(taken.values())


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    shared = np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
    area = float(np.prod(np.maximum(shared, 0)))
    return area / max(float(a[2] * a[3] + b[2] * b[3]) - area, 1e-9)
