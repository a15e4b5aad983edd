"""Chunks become tracks; tracks become files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.body.kinematics import forward
from backend.body.load import load_body
from backend.errors import JobError
from backend.motion.amass import amass_arrays, write_amass
from backend.motion.chunks import frame_times, person_tracks, stretches
from backend.records import Chunk, TrackChunk, TrackMotion
from blender_addon.shared.motion import CONTACTS


def piece(track: int, frames: list[int], fps: float = 30.0) -> TrackChunk:
    n = len(frames)
    value = np.array(frames, np.float32)
    ones = np.ones((1, 33, 3), np.float32)
    return TrackChunk(
        track,
        frames=np.array(frames, np.int32),
        times=np.array(frames) / fps,
        boxes=value[:, None] * np.ones((1, 4), np.float32),
        points3d=value[:, None, None] * ones,
        points2d=np.zeros((n, 33, 2), np.float32),
        uncertainty=np.full((n, 33), 0.03, np.float32),
        score=np.ones(n, np.float32),
    )


def test_tracks_run_through_chunks_and_gaps_are_marked():
    chunks = [
        Chunk(0, 9, 640, 480, [piece(1, list(range(10)))]),
        Chunk(10, 19, 640, 480, [piece(1, list(range(14, 20)))]),
    ]
    (track,) = person_tracks(chunks)
    assert track.frames.tolist() == list(range(20))
    np.testing.assert_allclose(track.times, np.arange(20) / 30)
    assert np.isnan(track.points3d[10:14]).all() and np.isfinite(track.points3d[[9, 14]]).all()
    np.testing.assert_allclose(track.boxes[:, 0], np.arange(20))


@pytest.mark.parametrize("fps", [6.0, 15.0, 30.0, 59.94, 240.0])
def test_gaps_are_short_or_long_in_seconds(fps):
    """The last and the first frame of two sights: half a second is bridged, more is left out."""
    for away_s, whole in ((0.5, True), (0.5 + 1.5 / fps, False), (5.0, False)):
        after = round((1 + away_s) * fps)
        seen = [*range(round(fps) + 1), *range(after, after + round(fps))]
        first, second = (piece(1, seen[a : a + 7], fps) for a in (0, 7))
        rest = piece(1, seen[14:], fps) if len(seen) > 14 else None
        parts = [p for p in (first, second, rest) if p is not None and len(p.frames)]
        (track,) = person_tracks([Chunk(0, seen[-1], 640, 480, [p]) for p in parts])
        if whole:
            assert track.frames.tolist() == list(range(seen[-1] + 1)) and len(stretches(track.times)) == 1
        else:
            assert track.frames.tolist() == seen and np.isfinite(track.points3d).all()
            cut = round(fps) + 1
            assert stretches(track.times) == [slice(0, cut), slice(cut, len(seen))]
        np.testing.assert_allclose(track.times, track.frames / fps, atol=1e-9)


def test_gaps_of_an_uneven_clip_go_by_its_times():
    """Ten frames without him: in 0.4 s of one and in 0.9 s of another. Somebody else was seen meanwhile."""
    for span, whole in ((0.4, True), (0.9, False)):
        steps = np.full(40, 1 / 30)
        steps[15:25] = np.array([3, 1] * 5) * span / 20
        times = np.concatenate([[0], np.cumsum(steps)])
        mine, other = piece(1, [*range(15), *range(26, 41)]), piece(2, list(range(41)))
        for track in (mine, other):
            track.times = times[track.frames]
        first, _ = person_tracks([Chunk(0, 40, 640, 480, [mine, other])])
        assert (first.frames.tolist() == list(range(41))) == whole
        # In the gap the times are those at which the other one was seen.
        np.testing.assert_array_equal(first.times, times[first.frames])
        assert len(stretches(first.times)) == (1 if whole else 2)


def test_what_is_seen_for_a_moment_between_long_absences_is_left_out():
    seen = [*range(30), *range(60, 64), *range(100, 130)]
    (track,) = person_tracks([Chunk(0, 129, 640, 480, [piece(1, seen)])])
    assert track.frames.tolist() == [*range(30), *range(100, 130)]
    # Short gaps inside are no ends of a piece, and there is something else.
    flicker = [*range(0, 4), *range(10, 14), *range(60, 64), *range(100, 104)]
    (track,) = person_tracks([Chunk(0, 129, 640, 480, [piece(1, flicker)])])
    assert track.frames.tolist() == list(range(14))
    # Moments only: all there is, as long as together they are worth a body.
    moments = [*range(0, 6), *range(60, 66), *range(100, 106)]
    (track, _) = person_tracks([Chunk(0, 129, 640, 480, [piece(1, moments), piece(2, list(range(20)))])])
    assert track.track == 1 and track.frames.tolist() == moments
    glimpses = [0, 60, 100]
    (track,) = person_tracks([Chunk(0, 129, 640, 480, [piece(1, glimpses), piece(2, list(range(20)))])])
    assert track.track == 2


def test_pictures_far_apart_in_time_stay_but_are_cut():
    """A folder of pictures whose numbers jump: nobody was missed."""
    track = piece(1, list(range(40)))
    track.times = track.times + np.where(track.frames >= 3, 2.0, 0)
    (found,) = person_tracks([Chunk(0, 39, 640, 480, [track])])
    assert found.frames.tolist() == list(range(40))
    assert stretches(found.times) == [slice(0, 3), slice(3, 40)] and stretches(np.zeros(0)) == []


def test_times_of_frames_go_on_beyond_what_is_known():
    known = frame_times([Chunk(0, 29, 640, 480, [piece(1, [10, 11, 14], 60.0)])])
    np.testing.assert_allclose(known(np.array([4, 10, 12, 20])), np.array([4, 10, 12, 20]) / 60)
    np.testing.assert_allclose(frame_times([])(np.array([0, 30])), [0, 1])


def test_glimpses_and_ghosts_are_left_out():
    chunks = [
        Chunk(0, 29, 640, 480, [piece(1, list(range(30))), piece(2, [3, 4]), piece(3, list(range(5, 25)))])
    ]
    assert [t.track for t in person_tracks(chunks, ghosts={3})] == [1]
    assert [t.track for t in person_tracks([Chunk(0, 3, 640, 480, [piece(7, [1, 2]), piece(8, [0])])])] == [7]
    assert person_tracks([Chunk(0, 3, 640, 480, [])]) == []


def test_a_chunk_survives_a_file(tmp_path):
    chunk = Chunk(4, 9, 640, 480, [piece(2, [5, 6]), piece(11, [4])])
    np.savez(tmp_path / "c.npz", **chunk.to_arrays())
    with np.load(tmp_path / "c.npz", allow_pickle=False) as arrays:
        back = Chunk.from_arrays(arrays)
    assert (back.first, back.last, back.width, back.height) == (4, 9, 640, 480)
    assert [t.track for t in back.tracks] == [2, 11]
    np.testing.assert_array_equal(back.tracks[0].points3d, chunk.tracks[0].points3d)


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def motion(body):
    rng = np.random.default_rng(0)
    n = 5
    pose = rng.normal(0, 0.3, (n, 55, 3)).astype(np.float32)
    pose[:, 0] += [2.8, 0, 0]
    betas = rng.normal(0, 1, body.n_betas).astype(np.float32)
    trans = rng.normal(0, 0.2, (n, 3)).astype(np.float32) + np.float32([0, 0, 4])
    posed = forward(body.to("cpu"), torch.from_numpy(pose), torch.from_numpy(betas), torch.from_numpy(trans))
    return TrackMotion(
        1,
        frames=np.arange(n, dtype=np.int32),
        times=np.arange(n) / 25,
        boxes=np.zeros((n, 4), np.float32),
        pose=pose,
        trans=trans,
        betas=betas,
        expression=np.zeros((n, body.n_expressions), np.float32),
        joints=posed.joints.numpy(),
        joint_uncertainty=np.full((n, 55), 0.05),
        final=True,
    )


@pytest.mark.slow
def test_amass_file_poses_the_same_body_in_a_world_with_z_up(body, motion):
    data = amass_arrays(motion, body, 25.0, np.array([0.1, 0.5, 0.2]))
    pose, trans = torch.from_numpy(data["poses"]).reshape(-1, 55, 3), torch.from_numpy(data["trans"])
    joints = forward(body.to("cpu"), pose, torch.from_numpy(data["betas"]), trans).joints.numpy()
    x, y, z = motion.joints[..., 0], motion.joints[..., 1], motion.joints[..., 2]
    np.testing.assert_allclose(joints, np.stack([x + 0.1, z - 0.2, -y + 0.5], -1), atol=2e-5)
    motion = replace(motion, up=np.float32([0.0, -0.8, -0.6]))
    data = amass_arrays(motion, body, 25.0, np.zeros(3))
    pose, trans = torch.from_numpy(data["poses"]).reshape(-1, 55, 3), torch.from_numpy(data["trans"])
    joints = forward(body.to("cpu"), pose, torch.from_numpy(data["betas"]), trans).joints.numpy()
    np.testing.assert_allclose(joints[..., 2], motion.joints @ motion.up, atol=2e-5)
    assert data["mocap_frame_rate"] == 25 and data["poses"].shape == (5, 165)


def test_amass_files_stand_on_the_floor_and_say_what_rests(body, motion, tmp_path):
    up = np.float32([0.0, -0.8, -0.6])
    touch = np.random.default_rng(0).uniform(0, 1, (5, 8)).astype(np.float32)
    one = replace(motion, up=up, floor=np.float32([1.5]), contacts=touch, bridged=np.uint8([0, 0, 1, 1, 0]))
    one = replace(one, frames=np.int32([0, 1, 2, 30, 31]), times=np.array([0, 1, 2, 30, 31]) / 25)
    other = replace(
        one, track=2, trans=one.trans - np.float32([0, 2, 0]), joints=one.joints - np.float32([0, 2, 0])
    )
    for path, person in zip(
        write_amass([one, other], body, 25.0, tmp_path, "clip"), (one, other), strict=True
    ):
        with np.load(path, allow_pickle=False) as data:
            rest = body.joints_template[0] + body.joints_shapedirs[0][:, : len(person.betas)] @ person.betas
            rows = person.frames - person.frames[0]
            pelvis = (data["trans"] + rest)[rows]
            np.testing.assert_allclose(pelvis[:, 2], person.joints[:, 0] @ up + 1.5, atol=2e-5)
            np.testing.assert_array_equal(data["contacts"][rows], touch)
            np.testing.assert_array_equal(data["bridged"][rows], person.bridged)
            np.testing.assert_array_equal(data["frames"][rows], person.frames)
            assert np.isnan(data["contacts"][3:30]).all()
            assert data["floor"].tolist() == [0] and data["contact_names"].tolist() == list(CONTACTS)
            assert data["mocap_time_length"] == pytest.approx(32 / 25)
    called = [p.name for p in write_amass([one, other], body, 25.0, tmp_path, "clip", {1: "Bo", 2: "bo"})]
    assert called == ["clip_Bo.npz", "clip_bo_person2.npz"]
    (path,) = write_amass([motion], body, 25.0, tmp_path, "old")
    with np.load(path, allow_pickle=False) as data:
        assert np.isnan(data["floor"]).all() and not data["contacts"].any()


def test_amass_files_hold_no_objects_and_failures_leave_nothing(body, motion, tmp_path):
    (path,) = write_amass([motion], body, 25.0, tmp_path / "new", "clip")
    with np.load(path, allow_pickle=False) as data:
        assert {"gender", "trans", "poses", "betas", "mocap_frame_rate", "expressions"} <= set(data.files)
        assert str(data["gender"]) == "neutral"
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(JobError, match="could not be written"):
        write_amass([motion], body, 25.0, blocked, "clip")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["clip_person1.npz"]
