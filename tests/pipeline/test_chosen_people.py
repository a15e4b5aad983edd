"""Following only the people who were chosen in a frame: on real footage of two people, and in the options."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from backend.errors import JobError
from backend.options import MocapOptions
from backend.people.choice import PeopleChoice
from backend.pipeline import mocap
from backend.records import Chunk, Notice, TrackMotion
from blender_addon.shared.frames import open_clip

pytestmark = pytest.mark.slow

CLIP = Path(__file__).resolve().parents[1] / "data" / "two_people.mp4"
COUNT = 24
# Where each was seen: on a common floor the size of one hangs on the others.
OPTIONS = MocapOptions(localizer="landmarks-lite", chunk=8, floor=False)
LEFT, RIGHT = (75.0, 150.0, 290.0, 310.0), (207.0, 173.0, 153.0, 177.0)
"""Boxes of the man and of the woman in frame 20."""


@pytest.fixture(scope="module")
def two():
    with open_clip(CLIP) as clip:
        return list(islice(clip, COUNT))


@pytest.fixture(scope="module")
def everybody(two):
    """The final motion of both, by their side."""
    left, right = sorted(finals(mocap(two, OPTIONS)), key=lambda m: m.boxes[:, 0].mean())
    return {"left": left, "right": right}


def finals(events) -> list[TrackMotion]:
    return [e for e in events if isinstance(e, TrackMotion) and e.final]


def choose(frame: int, **people) -> MocapOptions:
    return replace(OPTIONS, people=PeopleChoice(frame, **people))


@pytest.mark.parametrize(
    ("side", "choice"),
    [
        ("left", PeopleChoice(0, boxes=((69.0, 206.0, 187.0, 276.0),))),
        ("right", PeopleChoice(0, points=((290.0, 230.0),))),
        ("left", PeopleChoice(20, points=((170.0, 270.0),))),
        ("right", PeopleChoice(20, boxes=(RIGHT,))),
    ],
)
def test_only_the_chosen_one_is_followed_and_from_the_first_frame(two, everybody, side, choice):
    events = list(mocap(two, replace(OPTIONS, people=choice)))
    (one,) = finals(events)
    whole = everybody[side]
    assert one.frames.tolist() == whole.frames.tolist() == list(range(COUNT))
    np.testing.assert_allclose(one.boxes, whole.boxes, atol=20)
    assert np.abs(one.joints[:, :22] - whole.joints[:, :22]).max() < 0.1
    # Nothing of the other one is shown on the way, and nothing is kept once the choice is known.
    assert {m.track for m in events if isinstance(m, TrackMotion)} == {one.track}
    last = [e for e in events if isinstance(e, Chunk)][-1]
    assert [t.track for t in last.tracks] == [one.track]
    assert not any(isinstance(e, Notice) for e in events)


def test_both_may_be_chosen_although_one_at_a_time_was_asked_for(two):
    options = replace(choose(20, boxes=(LEFT, RIGHT)), max_people=1)
    assert len(finals(mocap(two, options))) == 2


@pytest.mark.parametrize("chunks", [1, 3])
def test_resumed_before_and_after_the_choice_is_the_same(two, chunks):
    """Eight frames a chunk: the choice in frame 12 lies beyond the first and before the third."""
    options = choose(12, points=((300.0, 230.0),))
    events = list(mocap(two, options))
    kept = [Chunk.from_arrays(c.to_arrays()) for c in events if isinstance(c, Chunk)][:chunks]
    (whole,), (resumed,) = finals(events), finals(mocap(two[8 * chunks :], options, resume=kept))
    assert resumed.track == whole.track
    np.testing.assert_array_equal(resumed.frames, whole.frames)
    np.testing.assert_array_equal(resumed.pose, whole.pose)
    np.testing.assert_array_equal(resumed.trans, whole.trans)


def test_somebody_who_is_not_there_is_told_and_left_out(two):
    events = list(mocap(two, choose(4, points=((290.0, 230.0), (20.0, 700.0)))))
    assert len(finals(events)) == 1
    (said,) = [e.text for e in events if isinstance(e, Notice)]
    assert said.startswith("Person 2 of the 2 chosen was not found in frame 4") and said.endswith(".")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (choose(3, points=((20.0, 700.0),)), "Nobody of the people chosen in frame 3"),
        (choose(3, boxes=((10.0, 600.0, 60.0, 100.0),)), "Nobody of the people chosen in frame 3"),
        (choose(500, points=((290.0, 230.0),)), "frame 500, but the clip ends after 6 frames"),
    ],
)
def test_a_choice_that_meets_nobody_is_one_sentence(two, options, words):
    with pytest.raises(JobError, match=words) as error:
        list(mocap(two[:6], options))
    assert error.value.code == "no_choice" and str(error.value).endswith(".")


def test_choices_survive_the_wire_and_are_read_from_a_line():
    for people in (PeopleChoice(7, boxes=(LEFT, RIGHT)), PeopleChoice(0, points=((1.5, 2.0),))):
        options = MocapOptions(people=people)
        assert MocapOptions.from_dict(options.to_dict()) == options
    assert MocapOptions.from_dict({"people": None}) == MocapOptions()
    assert PeopleChoice.from_text("12:140,300; 260.5 , 310") == PeopleChoice(
        12, points=((140.0, 300.0), (260.5, 310.0))
    )


@pytest.mark.parametrize(
    "text", ["", "12", "12:", "x:1,2", "-1:1,2", "12:1", "12:1,2,3", "12:a,b", "12:nan,1", "1.5:1,2"]
)
def test_a_line_that_cannot_be_read_says_how(text):
    with pytest.raises(JobError, match="FRAME:x,y") as error:
        PeopleChoice.from_text(text)
    assert error.value.code == "bad_options"


@pytest.mark.parametrize(
    "given",
    [
        [],
        {},
        {"frame": 0},
        {"frame": True, "points": [[1, 2]]},
        {"frame": -1, "points": [[1, 2]]},
        {"frame": 0, "points": []},
        {"frame": 0, "points": [[1, 2]], "boxes": [[1, 2, 3, 4]]},
        {"frame": 0, "points": [[1, float("inf")]]},
        {"frame": 0, "points": [[1, "2"]]},
        {"frame": 0, "points": "12"},
        {"frame": 0, "boxes": [[1, 2, 0, 4]]},
        {"frame": 0, "boxes": [[1, 2, 3]]},
        {"frame": 0, "points": [[1, 2]] * 33},
        {"frame": 0, "points": [[1, 2]], "colour": "red"},
    ],
)
def test_a_wrong_choice_is_one_sentence(given):
    with pytest.raises(JobError, match=r"^The option 'people' .*\.$") as error:
        MocapOptions.from_dict({"people": given})
    assert error.value.code == "bad_options"


def test_nobody_is_meant_twice():
    rng = np.random.default_rng(0)
    body = rng.uniform(0, 100, (33, 2))
    choice = PeopleChoice(0, points=((float(body[23, 0]), float(body[23, 1])),) * 2)
    assert sorted(choice.match({5: body, 6: body + 1000}), key=str) == [5, None]
