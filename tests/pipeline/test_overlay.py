"""The overlay video: right size, right timing, dots where the body is."""

from __future__ import annotations

import av
import numpy as np
import pytest

from backend.body.load import load_body
from backend.draw.colours import colours
from backend.draw.movie import write_overlay
from backend.draw.overlay import OverlayPainter, surface_sample
from backend.errors import JobError
from backend.options import MocapOptions
from backend.pipeline import mocap
from backend.records import TrackMotion

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def painter(frames):
    options = MocapOptions(localizer="landmarks-lite")
    motions = [e for e in mocap(frames, options) if isinstance(e, TrackMotion) and e.final]
    h, w = frames[0].image.shape[:2]
    return OverlayPainter(load_body(), options.camera(w, h), motions)


def test_sure_is_green_and_a_guess_is_red():
    sure, guess = colours(np.array([0.01, 0.3]))
    assert sure[1] == 255 and sure[0] == 0
    assert guess[0] == 255 and guess[1] == 0


def test_the_sample_is_spread_over_the_whole_body():
    body = load_body()
    rows = surface_sample(body, 300)
    assert len(set(rows.tolist())) == 300
    gap = np.linalg.norm(body.v_template[:, None] - body.v_template[rows][None], axis=-1).min(1)
    assert gap.max() < 0.12


def test_dots_are_drawn_on_the_person(painter, frames):
    before = painter.paint(type(frames[0])(10**6, 0.0, frames[5].image))  # a frame nobody is in
    after = painter.paint(frames[5])
    changed = np.argwhere(np.abs(after.astype(int) - before).max(-1) > 40)[:, ::-1]
    picture = changed[changed[:, 0] < painter.width]
    motion = max(painter.motions, key=lambda m: m.boxes[:, 2:].prod(1).mean())
    x, y, w, h = motion.boxes[5] * painter.scale
    centre = picture.mean(0)
    assert abs(centre[0] - x - w / 2) < 0.3 * w and abs(centre[1] - y - h / 2) < 0.3 * h
    assert len(changed) > len(picture) > 1000  # the side view shows the body too


def test_the_video_keeps_size_and_times(painter, frames, tmp_path):
    out = tmp_path / "overlay.mp4"
    assert list(write_overlay(frames, painter, out, 60.0)) == list(range(1, 13))
    with av.open(str(out)) as video:
        pictures = list(video.decode(video=0))
    assert len(pictures) == 12
    assert (pictures[0].width, pictures[0].height) == (painter.width + painter.side, painter.height)
    times = [float(p.pts * p.time_base) for p in pictures]
    np.testing.assert_allclose(np.diff(times), np.diff([f.time_s for f in frames]), atol=2e-4)
    assert [p.name for p in tmp_path.iterdir()] == ["overlay.mp4"]


def test_a_folder_that_cannot_be_made_is_said(painter, frames, tmp_path):
    (tmp_path / "none").write_text("in the way")
    with pytest.raises(JobError, match=r"overlay\.mp4 could not be written"):
        list(write_overlay(frames, painter, tmp_path / "none" / "overlay.mp4", 60.0))
