"""Cuts and cameras on the real road: each shot has its own people, and a pan is not the person's way."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.errors import JobError
from backend.motion.corrections import apply_edits
from backend.motion.finish import imported
from backend.options import MocapOptions
from backend.people.edits import check_edits, edits_from_text
from backend.pipeline import mocap
from backend.records import Chunk, Shot, Summary, TrackChunk, TrackMotion
from blender_addon.shared.frames import Frame, open_clip

DATA = Path(__file__).resolve().parents[1] / "data"
OPTIONS = MocapOptions("landmarks-lite", max_people=2, chunk=7, fov_deg=55, keep_features=False)


def pictures(name: str, count: int, scale: float = 0.5) -> list[np.ndarray]:
    with open_clip(DATA / name) as opened:
        some = [frame.image for _, frame in zip(range(count), opened, strict=False)]
    return [cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for image in some]


@cache
def film() -> tuple[Frame, ...]:
    """Twelve frames of one clip, then twelve of another without whom its edge cuts off, in one size."""
    first, second = pictures("two_people.mp4", 12), [p[:, 90:] for p in pictures("demo.mp4", 12)]
    height, width = first[0].shape[:2]
    fitted = []
    for image in second:
        share = min(height / image.shape[0], width / image.shape[1])
        small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        canvas = np.full((height, width, 3), 90, np.uint8)
        canvas[: small.shape[0], : small.shape[1]] = small
        fitted.append(canvas)
    return tuple(Frame(i, i / 25, image) for i, image in enumerate([*first, *fitted]))


def run(frames, options: MocapOptions, resume=()) -> tuple[list[Chunk], list[Shot], list[TrackMotion]]:
    events = list(mocap(frames, options, resume=resume, previews=False))
    assert isinstance(events[-1], Summary)
    of = lambda kind: [e for e in events if isinstance(e, kind)]  # noqa: E731
    return of(Chunk), of(Shot), of(TrackMotion)


@cache
def cut_film() -> tuple[list[Chunk], list[Shot], list[TrackMotion]]:
    return run(film(), OPTIONS)


def test_a_cut_parts_the_clip():
    _, shots, motions = cut_film()
    assert [(s.frames[0], s.frames[-1]) for s in shots] == [(0, 11), (12, 23)]
    assert not any(s.moving for s in shots)
    by_shot = {int(s.number): [m for m in motions if m.shot[0] == s.number] for s in shots}
    assert len(by_shot[1]) == 2 and len(by_shot[2]) == 1
    assert all(m.frames[-1] < 12 for m in by_shot[1]) and by_shot[2][0].frames[0] >= 12
    assert {m.track for m in by_shot[1]}.isdisjoint({m.track for m in by_shot[2]})


def test_it_can_be_taken_for_one_shot_afterwards_and_chunks_give_all_of_it_back():
    chunks, _, _ = cut_film()
    kept = [Chunk.from_arrays({n: np.asarray(a) for n, a in c.to_arrays().items()}) for c in chunks]
    _, shots, again = run((), OPTIONS, kept)
    assert len(shots) == 2 and [m.track for m in again] == [m.track for m in cut_film()[2]]
    for a, b in zip(again, cut_film()[2], strict=True):
        np.testing.assert_array_equal(a.joints, b.joints)
    _, shots, _ = run((), MocapOptions.from_dict(OPTIONS.to_dict() | {"shots": False}), kept)
    assert [(s.frames[0], s.frames[-1]) for s in shots] == [(0, 23)]


def test_a_job_that_was_broken_off_goes_on_as_if_nothing_had_happened():
    chunks, _, motions = cut_film()
    rest, _, again = run(film()[14:], OPTIONS, chunks[:2])
    assert [c.first for c in rest] == [14, 21]
    for new, old in zip(rest, chunks[2:], strict=True):
        np.testing.assert_array_equal(new.signatures, old.signatures)
        for name in old.background:
            np.testing.assert_array_equal(new.background[name], old.background[name])
    for a, b in zip(again, motions, strict=True):
        np.testing.assert_allclose(a.joints, b.joints, atol=2e-3)


def test_corrections_are_made_without_a_picture():
    chunks, _, motions = cut_film()
    a, b = (m for m in motions if m.shot[0] == 1)
    edits = [
        {"op": "swap", "tracks": [a.track, b.track], "frame": 6},
        {"op": "rename", "track": a.track, "name": "Anna"},
    ]
    options = MocapOptions.from_dict(OPTIONS.to_dict() | {"edits": edits})
    assert MocapOptions.from_dict(options.to_dict()) == options
    events = list(mocap((), options, resume=chunks, previews=False))
    new = {m.track: m for m in events if isinstance(m, TrackMotion)}
    changed = new[a.track]
    early, late = changed.boxes[changed.frames < 6], changed.boxes[changed.frames >= 6]
    assert np.linalg.norm(early - a.boxes[a.frames < 6]) < 1e-3
    assert np.linalg.norm(late - b.boxes[b.frames >= 6]) < 1e-3
    assert set(changed.source[changed.frames >= 6].tolist()) == {b.track}
    assert events[-1].names == {str(a.track): "Anna"}


def test_a_camera_solved_elsewhere_is_taken_as_it_is():
    chunks, _, motions = cut_film()
    still = next(m for m in motions if m.shot[0] == 2)
    focal = float(OPTIONS.pinhole(chunks[0].width, chunks[0].height).K[0, 0])
    rows = [[k, 0, 0.02 * k, 0, 0.01 * k, 0, 0, focal] for k in range(0, 24, 3)]
    options = MocapOptions.from_dict(OPTIONS.to_dict() | {"camera_path": rows})
    _, shots, moved = run((), options, chunks)
    assert all(s.moving and s.lens_source == "camera" for s in shots)
    assert np.abs(shots[1].turns[0]).max() < 1e-6 and abs(shots[1].turns[-1, 1] - 0.02 * 9) < 1e-3
    path = np.ptp(next(m for m in moved if m.shot[0] == 2).joints[:, 0], axis=0)
    assert path[0] > np.ptp(still.joints[:, 0], axis=0)[0] + 0.2
    with pytest.raises(JobError, match="one row for a frame"):
        imported([rows[0], rows[0]], np.arange(3))


def tracks() -> list[TrackChunk]:
    def one(number: int, first: int, last: int, sigma: float) -> TrackChunk:
        n = last - first + 1
        points = np.full((n, 3, 3), float(number), np.float32)
        return TrackChunk(number, np.arange(first, last + 1, dtype=np.int32), np.arange(first, last + 1) / 10,
                          np.full((n, 4), number, np.float32), points, points[..., :2],
                          np.full((n, 3), sigma, np.float32), np.ones(n, np.float32))  # fmt: skip

    return [one(1, 0, 19, 0.02), one(2, 10, 29, 0.01)]


def test_merge_split_and_same():
    made = apply_edits(tracks(), edits_from_text(["merge=1,2", "split=1@15", "same=1,3", "name=3:Bea"]))
    assert [(t.track, t.frames[0], t.frames[-1]) for t in made.tracks] == [(1, 0, 14), (3, 15, 29)]
    # Where both were seen, the surer one counts.
    assert made.tracks[0].points3d[9, 0, 0] == 1 and made.tracks[0].points3d[12, 0, 0] == 2
    assert made.links == {3: 1} and made.names == {3: "Bea"}
    assert not apply_edits(tracks(), edits_from_text(["exclude=1", "exclude=2"])).tracks


@pytest.mark.parametrize(
    ("edit", "says"),
    [("merge=1,7", "no person 7"), ("split=1@40", "frame 0 to 19 only"), ("fuse=1,2", "cannot be read"),
     ("merge=1,1", "two different people"), ("split=1", "cannot be read"), ("name=1:", "needs a name")],
)  # fmt: skip
def test_a_correction_that_cannot_be_is_refused_in_a_sentence(edit, says):
    with pytest.raises(JobError, match=says):
        apply_edits(tracks(), edits_from_text([edit]))


def test_people_of_two_shots_are_not_merged():
    with pytest.raises(JobError, match="different shots"):
        apply_edits(tracks(), check_edits([{"op": "merge", "tracks": [1, 2]}]), [0, 10])
