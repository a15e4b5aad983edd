"""Choosing people without a window: which frame is read, who stays chosen, what keys do."""

from pathlib import Path

import numpy as np
import pytest

from blender_addon.link.choosing import PAUSE_S, PeopleChooser, action_of, still_there
from blender_addon.link.previewjob import SeenPerson
from blender_addon.shared.frames import open_clip

CLIP = Path(__file__).resolve().parents[1] / "data" / "two_people.mp4"


class NoBackend:
    """Not started yet."""

    def pump(self, budget_s):
        return None


def person(x: float) -> SeenPerson:
    box = np.array([x, 100, 60, 150], np.float32)
    return SeenPerson(box, 0.9, np.array([[x, 100], [x + 60, 100], [x + 30, 250]], np.float32))


@pytest.fixture
def chooser():
    one = PeopleChooser(NoBackend(), open_clip(CLIP), {})
    yield one
    one.close()


def arrive(chooser, budget_s=0.0) -> int:
    """Pump until the wanted frame is shown; -> how often."""
    for times in range(1, 2000):
        chooser.pump(budget_s)
        if chooser.shown == chooser.frame:
            return times
    raise AssertionError("never arrived")


def meet(chooser, *people: SeenPerson) -> None:
    arrive(chooser)
    chooser._known[chooser.frame] = list(people)
    chooser._meet(list(people))


def test_frames_are_the_clips_own_and_no_pump_reads_many(chooser):
    with open_clip(CLIP) as clip:
        every = [frame.image for frame in clip]
    assert chooser.count == len(every) == 40
    arrive(chooser)
    np.testing.assert_array_equal(chooser.picture, every[0])
    chooser.go_to(25)
    # Without time every pump decodes one picture, so that Blender stays free on the way to a late frame.
    # Two rests a picture that is passed by.
    assert arrive(chooser) == 50
    np.testing.assert_array_equal(chooser.picture, every[25])
    chooser.act("step", 1)
    assert arrive(chooser) == 2
    np.testing.assert_array_equal(chooser.picture, every[26])
    chooser.act("step", -1)  # kept
    assert chooser.shown == 25
    for action, way, frame in (("second", 1, 39), ("step", 1, 39), ("first", 0, 0), ("second", -1, 0)):
        chooser.act(action, way)
        arrive(chooser, 0.1)
        assert chooser.frame == frame
        np.testing.assert_array_equal(chooser.picture, every[frame])


def test_a_clip_that_is_shorter_than_it_says(chooser):
    chooser.count = 1000
    chooser.go_to(700)
    arrive(chooser, 0.1)
    assert chooser.frame == 39 and chooser.count == 40 and chooser.error is None


def test_a_kept_choice_beyond_the_end_of_the_clip_ends_at_its_last_frame():
    before = {"frame": 4000, "boxes": [[10, 20, 30, 40]]}
    one = PeopleChooser(NoBackend(), open_clip(CLIP), {}, before)
    arrive(one, 0.1)
    assert one.frame == 39
    one.close()


def test_clicks_keys_and_what_they_come_to(chooser):
    assert chooser.choice() is None and chooser.says().startswith("Going to frame 0")
    arrive(chooser)
    assert chooser.says() == "Starting the backend ..."
    meet(chooser, person(10), person(200), person(320))
    assert "3 people found, nobody chosen" in chooser.says()
    chooser.act("toggle", 1)
    assert chooser.choice() == {"frame": 0, "boxes": [[200.0, 100.0, 60.0, 150.0]]}
    assert "1 chosen: Start follows only this one" in chooser.says()
    chooser.act("toggle", 1)
    assert chooser.choice() is None
    chooser.act("all", 0)
    assert len(chooser.choice()["boxes"]) == 3
    chooser.act("all", 0)
    assert chooser.choice() is None
    chooser.act("toggle", 7)
    assert chooser.chosen == set()
    meet(chooser)
    assert chooser.says().startswith("Nobody was found")
    chooser.act("all", 0)
    assert chooser.choice() is None


def test_whoever_is_chosen_stays_it_in_the_next_frame_and_after_opening_anew(chooser):
    meet(chooser, person(10), person(200))
    chooser.act("toggle", 1)
    chooser.act("step", 1)
    assert chooser.choice() is None and not chooser.ready
    chooser.act("step", 1)  # past a frame that nobody looked at
    chooser.act("step", -1)
    meet(chooser, person(206), person(16))
    assert chooser.choice() == {"frame": 1, "boxes": [[206.0, 100.0, 60.0, 150.0]]}
    again = PeopleChooser(NoBackend(), open_clip(CLIP), {}, chooser.choice())
    meet(again, person(16), person(206))
    assert again.frame == 1 and again.chosen == {1}
    again.act("toggle", 1)
    again.act("step", 1)
    meet(again, person(16), person(206))
    assert again.choice() is None  # nor does anybody come back who was let go
    again.close()


def test_nobody_is_taken_for_two():
    boxes = [np.array([x, 0, 10, 20.0]) for x in (0, 4, 100)]
    assert still_there([boxes[0], boxes[0]], boxes) == [0, 1]
    assert still_there([boxes[2]], boxes[:2]) == []
    assert still_there([], boxes) == []


def test_frames_passed_quickly_are_not_looked_at():
    asked = []

    class Client:
        def _add(self, job, kind, **fields):
            asked.append(kind)

        def _say(self, kind, job=None, **fields):
            asked.append(kind)

    class Ready:
        def pump(self, budget_s):
            return Client()

    now = [100.0]
    one = PeopleChooser(Ready(), open_clip(CLIP), {}, clock=lambda: now[0])
    one.pump()
    assert asked == ["preview"]  # the first one at once
    now[0] += 1
    one.act("step", 1)
    for _ in range(3):
        one.pump()
    assert one.shown == 1 and asked.count("preview") == 1
    now[0] += PAUSE_S
    one.pump()
    assert asked.count("preview") == 2
    one._job._speaker = Client()
    one.close()
    assert asked[-1] == "cancel"


@pytest.mark.parametrize(
    ("key", "action"),
    [
        ("A", ("all", 0)),
        ("LEFT_ARROW", ("step", -1)),
        ("UP_ARROW", ("second", 1)),
        ("RET", ("start", 0)),
        ("ESC", ("leave", 0)),
        ("TWO", ("toggle", 1)),
        ("NUMPAD_9", ("toggle", 8)),
        ("NUMPAD_0", None),
        ("NUMPAD_ENTER", ("start", 0)),
        ("Z", None),
    ],
)
def test_keys(key, action):
    assert action_of(key) == action


def test_a_box_is_drawn_where_nobody_was_found(chooser):
    meet(chooser, person(10), person(200))
    chooser.act("toggle", 0)
    chooser.draw(100, 50)  # nothing was begun
    assert chooser.drawing is None
    chooser.draw(170, 240, begin=True)
    chooser.draw(120.25, 90)
    np.testing.assert_allclose(chooser.drawing, [170, 240, 120.25, 90])
    chooser.end_drawing()
    # From any corner to the opposite one; it is chosen, and an outline like others.
    assert chooser.choice() == {"frame": 0, "boxes": [[10, 100, 60, 150], [120.2, 90, 49.8, 150]]}
    assert chooser.outlines[2].shape == (4, 2) and chooser.drawing is None
    # A click is none, and beyond the picture there is nothing.
    chooser.draw(300, 10, begin=True)
    chooser.draw(302, 40)
    chooser.end_drawing()
    assert len(chooser.people) == 3
    chooser.draw(1, 1, begin=True)
    chooser.draw(-50, 1e6)
    chooser.end_drawing()
    assert len(chooser.people) == 3, "without any width"
    # Another frame and back: it stays; a click takes it away again.
    chooser.go_to(5)
    meet(chooser, person(12))
    assert len(chooser.people) == 1
    chooser.go_to(0)
    arrive(chooser)
    chooser._meet(chooser._known[0])
    assert len(chooser.people) == 3 and 2 in chooser.chosen
    chooser.act("toggle", 2)
    assert len(chooser.people) == 2 and 2 not in chooser.chosen


def test_a_drawn_box_of_an_earlier_choice_is_there_again():
    before = {"frame": 3, "boxes": [[10, 100, 60, 150], [120, 90, 50, 150]]}
    one = PeopleChooser(NoBackend(), open_clip(CLIP), {}, before)
    try:
        meet(one, person(10))
        assert one.choice() == before
    finally:
        one.close()
