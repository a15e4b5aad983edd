"""Following only the people whom the user has chosen in one frame of the clip.

Up to that frame everybody is followed, for nobody knows yet who will be meant. There tracks and choice are laid beside
each other, and whoever is not meant becomes a ghost. From then on somebody else is looked at only beside a chosen
person, for two people who meet are told apart by knowing both; such bystanders are ghosts from the beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from backend.camera.pinhole import Roi
from backend.errors import JobError
from backend.people.choice import PeopleChoice
from backend.people.detect import Detection, PersonDetector
from backend.people.follow import PeopleTracker
from backend.people.memory import Seconds
from backend.people.track import Track
from blender_addon.shared.frames import Frame

BEFORE = 16
"""Most people who are followed at a time up to the frame of the choice."""
BYSTANDERS = 2
"""Most people beside the chosen ones who are looked at later."""
BESIDE = 2.0
"""A bystander is somebody so near to a chosen person, as a part of the larger one's size."""


class ChosenTracker(PeopleTracker):
    """A `PeopleTracker` of the people in `choice`. `undecided`: its frame has not come yet."""

    def __init__(self, detector: PersonDetector | None, choice: PeopleChoice, max_people: int = 4) -> None:
        super().__init__(detector, max(max_people, len(choice), BEFORE))
        self.choice = choice
        self._chosen: set[int] | None = None

    @property
    def undecided(self) -> bool:
        return self._chosen is None

    def settle(self) -> set[int]:
        """See `PeopleTracker.settle`: only chosen people count once it is known who they are."""
        if self._asked is None:
            return set()
        good = super().settle()
        if self._chosen is None and self._index >= self.choice.frame:
            self._decide(good)
        if self._chosen is None:
            return good
        self._tracks = [
            t for t in self._tracks if t.id in self._chosen or self._beside(t.anchors(self._now), t.radius)
        ]
        return good & self._chosen

    def restart(self) -> None:
        """See `PeopleTracker.restart`: those who were chosen are not given up."""
        if self._chosen is None:
            super().restart()
        self._look_s = None

    def memory(self) -> dict[str, np.ndarray]:
        """See `PeopleTracker.memory`; `chosen` is left out while nothing is decided."""
        more = {} if self._chosen is None else {"chosen": np.array(sorted(self._chosen), np.int64)}
        return super().memory() | more

    def recall(self, memory: Mapping[str, np.ndarray], seconds: Seconds | None = None) -> None:
        """See `PeopleTracker.recall`."""
        super().recall(memory, seconds)
        if "chosen" in memory:
            self._close({int(i) for i in memory["chosen"]})

    def check_end(self, frames: int) -> None:
        """Raises JobError("no_choice") when the clip of so many frames has ended before the frame of the choice."""
        if self.undecided:
            text = f"People were chosen in frame {self.choice.frame}, but the clip ends after {frames} frames"
            raise JobError("no_choice", f"{text} (counted from 0): choose them in an earlier one.")

    def must_look(self, frame: Frame) -> bool:
        """See `PeopleTracker.must_look`."""
        return frame.index == self.choice.frame or super().must_look(frame)

    def until_look(self, frames: Sequence[Frame]) -> int:
        """See `PeopleTracker.until_look`."""
        wait, ahead = super().until_look(frames), self.choice.frame - frames[0].index
        return min(wait, ahead) if ahead > 0 else wait

    def _parts(self, index: int) -> list[int]:
        # The picture in which people were chosen was searched as thoroughly.
        return [1, 2] if index == self.choice.frame else super()._parts(index)

    def _assign(self, finds: list[Detection]) -> None:
        super()._assign(finds)
        if self._index == self.choice.frame and self._chosen is None:
            self._look_where_chosen()

    def _look_where_chosen(self) -> None:
        """A chosen box that nobody is followed in is looked at, whatever the detector says."""
        for box in self.choice.boxes:
            middle = np.array(box[:2]) + np.array(box[2:]) / 2
            gaps = [
                np.linalg.norm(t.anchors(self._now) - middle, axis=1).min() / t.radius for t in self._active()
            ]
            if min(gaps, default=np.inf) > 0.6:
                self._tracks.append(Track(self._next_id, Roi.around(np.array(box))))
                self._next_id += 1

    def _may_leave(self, track: Track) -> bool:
        return self._chosen is None or track.id not in self._chosen

    def _may_begin(self, find: Detection) -> bool:
        return self._chosen is None or self._beside(np.stack([find.hips, find.shoulders]), find.radius)

    def _begin(self, find: Detection) -> None:
        super()._begin(find)
        if self._chosen is not None:
            self.ghosts.add(self._tracks[-1].id)

    def _beside(self, anchors: np.ndarray, radius: float) -> bool:
        for t in self._tracks:
            if t.id in self._chosen:
                gap = np.linalg.norm(anchors.mean(0) - t.anchors(self._now).mean(0))
                if gap < BESIDE * max(radius, t.radius):
                    return True
        return False

    def _decide(self, good: set[int]) -> None:
        """Lay the choice beside the people of its frame. Raises JobError("no_choice") when nobody is left."""
        people = {t.id: t.points for t in self._tracks if t.id in good}
        found = self.choice.match(people)
        chosen = {i for i in found if i is not None}
        frame = self.choice.frame
        if not chosen:
            text = f"Nobody of the people chosen in frame {frame} was found there: choose them anew"
            raise JobError("no_choice", f"{text}, in a frame that shows them from head to foot.")
        for number, track in enumerate(found, 1):
            if track is None:
                what = f"Person {number} of the {len(found)} chosen was not found in frame {frame} and is not followed"
                self.notices.append(f"{what}: choose that person in another frame.")
        for t in self._tracks:
            # The user says that this is a person.
            t.confirmed, t.found = t.confirmed or t.id in chosen, 2 if t.id in chosen else t.found
        # Everybody who ever was here and is not meant, those too who have left the picture before.
        self.ghosts |= set(range(1, self._next_id)) - chosen
        self._close(chosen)

    def _close(self, chosen: set[int]) -> None:
        self._chosen = chosen
        self.max_people = len(chosen) + BYSTANDERS
