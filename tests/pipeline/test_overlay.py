"""The overlay video: right size, right timing, people where they are, whole or not there, in the style asked for."""

from __future__ import annotations

import threading
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import typer

from backend.body.load import load_body
from backend.camera.pinhole import Camera
from backend.commands.mocap import mocap as mocap_command
from backend.commands.overlay import overlay as overlay_command
from backend.draw.colours import colours
from backend.draw.dots import surface_sample
from backend.draw.movie import in_order, write_overlay
from backend.draw.overlay import STYLE, STYLES, OverlayPainter
from backend.errors import JobError
from backend.options import MocapOptions
from backend.pipeline import mocap
from backend.records import TrackMotion
from blender_addon.shared.frames import Frame
from pipeline.drawn import standing

SIZE = (160, 96)
COUNT = 40


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def made_up(body):
    """Two people who walk past each other, seen in small."""
    people = [standing(body, (0, 0.3, 2.5), COUNT), standing(body, (0, 0.3, 3.5), COUNT, sigma=0.1, track=2)]
    for motion, way in zip(people, (1, -1), strict=True):
        motion.trans[:, 0] = motion.trans[:, 0] + way * np.linspace(-0.8, 0.8, COUNT, dtype=np.float32)
    return OverlayPainter(body, Camera.from_fov(*SIZE), people)


def pictures(count=COUNT, size=SIZE, start=0):
    for k in range(start, start + count):
        yield Frame(k, k / 30, np.full((size[1], size[0], 3), 40 + 3 * (k % 40), np.uint8))


def painters():
    return [t for t in threading.enumerate() if t.name.startswith("painter")]


# --- the picture ---


def test_sure_is_green_and_a_guess_is_red():
    sure, guess, unknown = colours(np.array([0.01, 0.3, np.nan]))
    assert sure[1] == 255 and sure[0] == 0
    assert guess[0] == 255 and guess[1] == 0
    np.testing.assert_array_equal(unknown, guess)


def test_the_sample_is_spread_over_the_whole_body(body):
    rows = surface_sample(body, 300)
    assert len(set(rows.tolist())) == 300
    gap = np.linalg.norm(body.v_template[:, None] - body.v_template[rows][None], axis=-1).min(1)
    assert gap.max() < 0.12


def test_bodies_are_shaded_unless_dots_are_asked_for(body):
    camera, motion = Camera.from_fov(480, 640), standing(body, (0, 0.3, 2.5))
    frame = next(pictures(size=(480, 640)))
    shares = {}
    for style in STYLES:
        painter = OverlayPainter(body, camera, [motion], style)
        without = painter.paint(Frame(99, 0, frame.image))
        shown = (painter.paint(frame) != without).any(-1)
        shares[style] = [part.mean() for part in (shown[:, : painter.width], shown[:, painter.width :])]
    # Dots leave gaps, in the picture and in the side view.
    assert all(0.01 < d < 0.95 * s < 0.3 for d, s in zip(shares["dots"], shares["shaded"], strict=True)), (
        shares
    )
    np.testing.assert_array_equal(
        OverlayPainter(body, camera, [motion]).paint(frame),
        OverlayPainter(body, camera, [motion], "shaded").paint(frame),
    )
    assert STYLE == "shaded"


def test_the_footage_stays_where_nobody_is_and_the_side_view_looks_from_the_right(body):
    """The nearer of two people stands to the left in the side view."""
    motions = [standing(body, (0, 0.3, 2.8), sigma=0.3), standing(body, (0, 0.3, 3.6), sigma=0.01, track=2)]
    # What the side view shows is laid out by the person who is longest there.
    painter = OverlayPainter(body, Camera.from_fov(480, 640), motions)
    frame = next(pictures(size=(480, 640)))
    canvas = painter.paint(frame).astype(int)
    np.testing.assert_array_equal(canvas[:20, :20], round(40 * 0.75))
    red, green = (np.argwhere(canvas[:, painter.width :, a] > canvas[:, painter.width :, b] + 20)[:, 1].mean()
                  for a, b in ((0, 1), (1, 0)))  # fmt: skip
    assert red + 50 < green


@pytest.mark.parametrize("size", [(853, 479), (479, 853), (33, 17), (2163, 3841), (4000, 31), (720, 1280)])
def test_any_size_becomes_an_even_one_and_bodies_stay_in_their_place(body, size):
    motion = standing(body, (0.4, 0.3, 4))
    camera = Camera.from_fov(*size)
    painter = OverlayPainter(body, camera, [motion])
    assert painter.width % 2 == painter.height % 2 == painter.side % 2 == 0
    assert max(painter.width, painter.height) <= 1280
    if max(size) <= 1280:
        assert (painter.width, painter.height) == tuple(v // 2 * 2 for v in size)
    image = np.full((size[1], size[0], 3), 100, np.uint8)
    shown = (painter.paint(Frame(0, 0, image)) != painter.paint(Frame(1, 0, image))).any(-1)[
        :, : painter.width
    ]
    if min(size) > 100:
        low, high = (f(camera.project(motion.joints[0, :22]), 0) for f in (np.min, np.max))
        places = (np.argwhere(shown)[:, ::-1] + 0.5) * size / [painter.width, painter.height]
        margin = 0.15 * (high - low).max()
        assert (places.min(0) > low - margin).all() and (places.max(0) < high + margin).all()
        assert (places.min(0) < low + margin).all() and (places.max(0) > high - margin).all()


# --- the movie ---


def test_the_file_is_the_same_with_any_number_of_threads(made_up, tmp_path):
    files = [tmp_path / f"{workers}.mp4" for workers in (1, 2, 3)]
    for workers, file in enumerate(files, 1):
        assert list(write_overlay(pictures(), made_up, file, 30.0, workers)) == list(range(1, COUNT + 1))
    assert len({file.read_bytes() for file in files}) == 1
    with av.open(str(files[0])) as video:
        shown = [p.to_ndarray(format="rgb24") for p in video.decode(video=0)]
    for k in (0, 20, COUNT - 1):
        want = made_up.paint(list(pictures())[k])
        assert np.abs(shown[k].astype(int) - want).mean() < 6


def test_threads_work_in_order_and_not_far_ahead():
    taken = []

    def things():
        for k in range(50):
            taken.append(k)
            yield k

    for k, result in enumerate(in_order(things(), lambda v: v * v, 2)):
        assert result == k * k and len(taken) <= k + 4
    assert not painters()


class Fails(OverlayPainter):
    """Cannot paint frame 7."""

    def paint(self, frame):
        if frame.index == 7:
            raise MemoryError("no room")
        return super().paint(frame)


def broken_clip():
    yield from pictures(7)
    raise KeyboardInterrupt


def test_whatever_goes_wrong_leaves_no_file_and_no_thread(body, made_up, tmp_path):
    threads = cv2.getNumThreads()
    out = tmp_path / "overlay.mp4"
    out.write_bytes(b"older")
    fails = Fails(body, Camera.from_fov(*SIZE), made_up.motions)
    with pytest.raises(MemoryError):
        list(write_overlay(pictures(), fails, out, 30.0, 2))
    with pytest.raises(KeyboardInterrupt):
        list(write_overlay(broken_clip(), made_up, out, 30.0, 2))
    stopped = write_overlay(pictures(), made_up, out, 30.0, 2)
    assert [next(stopped) for _ in range(5)] == [1, 2, 3, 4, 5] and painters()
    stopped.close()
    assert not painters() and cv2.getNumThreads() == threads
    assert [p.name for p in tmp_path.iterdir()] == ["overlay.mp4"] and out.read_bytes() == b"older"


def test_a_folder_that_cannot_be_made_is_said(made_up, tmp_path):
    (tmp_path / "none").write_text("in the way")
    with pytest.raises(JobError, match=r"overlay\.mp4 could not be written"):
        list(write_overlay(pictures(), made_up, tmp_path / "none" / "overlay.mp4", 60.0))
    assert not painters()


@pytest.mark.parametrize("command", ["overlay", "mocap"])
def test_an_unknown_style_is_one_sentence_before_anything_is_done(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path / "home"))
    with pytest.raises(typer.Exit) as ended:
        if command == "overlay":
            overlay_command(job="none", video=Path("none.mp4"), out=tmp_path / "o.mp4", style="oil")
        else:
            mocap_command(Path("none.mp4"), tmp_path / "out", overlay=True, overlay_style="oil")
    said = capsys.readouterr().err.strip().splitlines()
    assert ended.value.exit_code == 1 and said == ["The style of an overlay is shaded or dots, not 'oil'."]
    assert not list(tmp_path.iterdir())


# --- real footage ---


@pytest.fixture(scope="module")
def found(frames):
    options = MocapOptions(localizer="landmarks-lite")
    motions = [e for e in mocap(frames, options) if isinstance(e, TrackMotion) and e.final]
    h, w = frames[0].image.shape[:2]
    return options.pinhole(w, h), motions


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_people_are_drawn_where_they_are(body, found, frames, style):
    painter = OverlayPainter(body, *found, style)
    before = painter.paint(Frame(10**6, 0.0, frames[5].image))  # a frame nobody is in
    after = painter.paint(frames[5])
    changed = np.argwhere(np.abs(after.astype(int) - before).max(-1) > 40)[:, ::-1]
    picture = changed[changed[:, 0] < painter.width]
    motion = max(painter.motions, key=lambda m: m.boxes[:, 2:].prod(1).mean())
    x, y, w, h = motion.boxes[5] * painter.scale
    centre = picture.mean(0)
    assert abs(centre[0] - x - w / 2) < 0.3 * w and abs(centre[1] - y - h / 2) < 0.3 * h
    assert len(changed) > len(picture) > 1000  # the side view shows the body too


@pytest.mark.slow
def test_the_video_keeps_size_and_times(body, found, frames, tmp_path):
    out, painter = tmp_path / "overlay.mp4", OverlayPainter(body, *found)
    assert list(write_overlay(frames, painter, out, 60.0)) == list(range(1, 13))
    with av.open(str(out)) as video:
        shown = list(video.decode(video=0))
    assert len(shown) == 12
    assert (shown[0].width, shown[0].height) == (painter.width + painter.side, painter.height)
    times = [float(p.pts * p.time_base) for p in shown]
    np.testing.assert_allclose(np.diff(times), np.diff([f.time_s for f in frames]), atol=2e-4)
    assert [p.name for p in tmp_path.iterdir()] == ["overlay.mp4"]
