"""Clips: every file here is written by PyAV in the test, so the decoder meets real containers."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from blender_addon.shared.frames import ClipError, MovieClip, SequenceClip, open_clip

W, H = 96, 64
RED, GREEN, BLUE, WHITE = (230, 20, 20), (20, 200, 20), (20, 20, 230), (235, 235, 235)


def quarters(shade: int = 0, w: int = W, h: int = H) -> np.ndarray:
    """A picture with four coloured quarters (top left red, top right green, bottom left blue)."""
    image = np.empty((h, w, 3), np.uint8)
    image[: h // 2, : w // 2], image[: h // 2, w // 2 :] = RED, GREEN
    image[h // 2 :, : w // 2], image[h // 2 :, w // 2 :] = BLUE, WHITE
    return np.clip(image.astype(int) - shade, 0, 255).astype(np.uint8)


def write_movie(
    path: Path,
    count=20,
    *,
    rate=30,
    pts=None,
    time_base=None,
    turn=None,
    faststart=True,
    noise=False,
    sar=None,
) -> Path:
    """An H.264 movie; `turn`: (degrees counter-clockwise, hflip, vflip) as the display matrix."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "faststart"} if faststart else {}) as out:
        stream = out.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = W, H, "yuv420p"
        if sar:
            stream.codec_context.sample_aspect_ratio = sar
        if time_base:
            stream.codec_context.time_base = time_base
        if turn:
            stream.set_display_rotation(turn[0], hflip=turn[1], vflip=turn[2])
        for i in range(count):
            image = rng.integers(0, 255, (H, W, 3), np.uint8) if noise else quarters(shade=4 * (i % 20))
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = i if pts is None else pts[i]
            if time_base:
                frame.time_base = time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def write_picture(path: Path, image: np.ndarray) -> Path:
    codec = "png" if path.suffix == ".png" else "mjpeg"
    context = av.CodecContext.create(codec, "w")
    context.width, context.height = image.shape[1], image.shape[0]
    context.pix_fmt = "rgb24" if codec == "png" else "yuvj444p"
    context.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=context.pix_fmt)
    path.write_bytes(b"".join(bytes(p) for p in [*context.encode(frame), *context.encode()]))
    return path


def corner_colours(image: np.ndarray) -> list[tuple[int, ...]]:
    """The named colours of the four quarters: top left, top right, bottom left, bottom right."""
    h, w = image.shape[:2]
    named = np.array([RED, GREEN, BLUE, WHITE])
    points = [(h // 4, w // 4), (h // 4, 3 * w // 4), (3 * h // 4, w // 4), (3 * h // 4, 3 * w // 4)]
    return [int(np.abs(named - image[y, x].astype(int)).sum(-1).argmin()) for y, x in points]


def test_plain_movie(tmp_path):
    with open_clip(write_movie(tmp_path / "a.mp4", 20)) as clip:
        assert (clip.width, clip.height, clip.fps, clip.frame_count) == (W, H, 30.0, 20)
        assert clip.duration_s == pytest.approx(20 / 30, abs=1e-3)
        frames = list(clip)
        again = list(clip)
    assert [f.index for f in frames] == list(range(20)) == [f.index for f in again]
    assert [f.time_s for f in frames] == pytest.approx([i / 30 for i in range(20)], abs=1e-4)
    for i, f in enumerate(frames):
        assert f.image.shape == (H, W, 3) and f.image.dtype == np.uint8 and f.image.flags.c_contiguous
        # Chroma subsampling and compression cost a little; the brightness names the frame.
        assert np.abs(f.image.astype(int) - quarters(4 * i)).mean() < 4
    assert clip.damage is None


def test_start_in_the_middle_gives_the_same_frames(tmp_path):
    clip = open_clip(write_movie(tmp_path / "a.mp4", 12))
    whole, tail = list(clip), list(clip.frames(start=7))
    assert [f.index for f in tail] == [7, 8, 9, 10, 11]
    for a, b in zip(whole[7:], tail, strict=True):
        assert a.time_s == b.time_s and np.array_equal(a.image, b.image)


def test_whoever_must_not_wait_may_leave_off_before_each_picture_skipped_ones_too(tmp_path):
    clip = open_clip(write_movie(tmp_path / "a.mp4", 12))
    pieces = list(clip.pieces(7))
    came = [i for i, piece in enumerate(pieces) if piece is not None]
    # One rest for each skipped picture and one before each that is converted.
    assert came[0] >= 8 and all(pieces[i - 1] is None for i in came)
    for a, b in zip(clip.frames(7), (pieces[i] for i in came), strict=True):
        assert a.index == b.index and np.array_equal(a.image, b.image)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_display_matrix_brings_the_picture_upright(tmp_path, degrees, mirrored):
    clip = open_clip(write_movie(tmp_path / "phone.mp4", 3, turn=(degrees, mirrored, False)))
    # av_display_matrix_flip negates the output's x: a player shows the picture turned, then mirrored.
    shown = np.rot90(quarters(), degrees // 90)
    shown = shown[:, ::-1] if mirrored else shown
    image = next(iter(clip)).image
    assert (clip.height, clip.width) == shown.shape[:2] == image.shape[:2]
    assert corner_colours(image) == corner_colours(shown)
    assert image.flags.c_contiguous


def test_rotation_agrees_with_ffmpegs_own_reading(tmp_path):
    """PyAV's `rotation` (libavutil) says the same of our file as our rounding of the matrix."""
    path = write_movie(tmp_path / "phone.mp4", 3, turn=(90, False, False))
    with av.open(str(path)) as container:
        raw = next(container.decode(video=0))
    assert raw.rotation == 90
    upright = next(iter(open_clip(path))).image
    assert np.array_equal(upright, np.rot90(raw.to_ndarray(format="rgb24"), raw.rotation // 90))


def test_pixel_aspect_is_made_square(tmp_path):
    clip = open_clip(write_movie(tmp_path / "wide.mp4", 3, sar=Fraction(4, 3)))
    assert (clip.width, clip.height) == (W * 4 // 3, H)
    assert next(iter(clip)).image.shape == (H, W * 4 // 3, 3)


def test_variable_frame_rate_keeps_true_times(tmp_path):
    pts = [0, 33, 66, 166, 200, 700, 733, 1100]
    path = write_movie(tmp_path / "vfr.mp4", len(pts), pts=pts, time_base=Fraction(1, 1000))
    frames = list(open_clip(path))
    assert [f.time_s for f in frames] == pytest.approx([p / 1000 for p in pts], abs=2e-3)


def test_times_start_at_zero(tmp_path):
    path = write_movie(tmp_path / "late.mkv", 5, pts=[90, 91, 92, 93, 94], faststart=False)
    assert [f.time_s for f in open_clip(path)] == pytest.approx([i / 30 for i in range(5)], abs=1.1e-3)


def test_truncated_movie_is_used_up_to_the_damage(tmp_path):
    whole = write_movie(tmp_path / "whole.mp4", 60, noise=True)
    data = whole.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) * 6 // 10])
    clip = open_clip(cut)
    good, left = list(open_clip(whole)), list(clip)
    assert 25 < len(left) < 45
    for a, b in zip(good, left, strict=False):
        assert np.array_equal(a.image, b.image)
    assert "cut off" in clip.damage and str(len(left)) in clip.damage and clip.damage.endswith(".")


@pytest.mark.slow
def test_truncated_matroska_is_told_by_its_duration(tmp_path):
    whole = write_movie(tmp_path / "whole.mkv", 120, noise=True, faststart=False)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    clip = open_clip(cut)
    assert 40 < len(list(clip)) < 80 and "cut off" in clip.damage
    whole_clip = open_clip(whole)
    assert len(list(whole_clip)) == 120 and whole_clip.damage is None


def test_damage_in_the_middle_leaves_the_rest(tmp_path):
    whole = write_movie(tmp_path / "whole.mp4", 60, noise=True)
    data = bytearray(whole.read_bytes())
    with av.open(str(whole)) as container:
        entry = container.streams.video[0].index_entries[20]
    data[entry.pos : entry.pos + entry.size] = b"\xff" * entry.size
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(bytes(data))
    clip = open_clip(broken)
    frames = list(clip)
    assert 50 <= len(frames) < 60 and [f.index for f in frames] == list(range(len(frames)))
    assert "left out" in clip.damage
    # Later frames keep their own time although some are missing.
    assert frames[-1].time_s == pytest.approx(59 / 30, abs=1e-3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: d / "none.mp4", "no file"),
        (lambda d: _text(d / "text.mp4", "hello\n" * 99), "not a video"),
        (lambda d: _text(d / "list.mp4", "#EXTM3U\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n"), "not a video"),
        (lambda d: _text(d / "empty.mp4", ""), "empty"),
        (lambda d: _no_index(d), "moov"),
        (lambda d: _audio_only(d / "sound.mp4"), "no video track"),
        (lambda d: _no_frames(d), "no picture|no video track"),
        (lambda d: _folder(d / "bare"), "no pictures"),
        (lambda d: d / "shot.####.png", "named like"),
        (lambda d: _text(d / "text.png", "hello"), "not a picture"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, make, words):
    path = make(tmp_path)
    with pytest.raises(ClipError, match=words) as caught:
        open_clip(path)
    text = str(caught.value)
    assert text.endswith(".") and text.count("\n") == 0


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    (path / "notes.txt").write_text("no pictures here")
    return path


def _no_index(folder: Path) -> Path:
    """A recording cut off before its index (which then stands at the end) was written."""
    whole = write_movie(folder / "w.mp4", 40, faststart=False, noise=True)
    cut = folder / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return cut


def _no_frames(folder: Path) -> Path:
    """A proper mp4 with a video track in its index, whose media data hold not one picture."""
    whole = write_movie(folder / "w.mp4", 2)
    data = bytearray(whole.read_bytes())
    at = data.index(b"mdat")
    data[at + 4 :] = bytes(len(data) - at - 4)
    none = folder / "none.mp4"
    none.write_bytes(bytes(data))
    return none


def _audio_only(path: Path) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=44100)
        for i in range(10):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, i * 1024
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def test_folder_pattern_and_first_picture_give_the_same_sequence(tmp_path):
    for n in (7, 8, 10):
        write_picture(tmp_path / f"shot.{n:04d}.png", quarters(n))
    for path in (
        tmp_path,
        tmp_path / "shot.####.png",
        tmp_path / "shot.%04d.png",
        tmp_path / "shot.0007.png",
    ):
        clip = open_clip(path, fps=25)
        frames = list(clip)
        assert isinstance(clip, SequenceClip) and (clip.frame_count, clip.fps) == (3, 25.0)
        assert [f.index for f in frames] == [0, 1, 2]
        # The missing picture 9 is a gap in time.
        assert [f.time_s for f in frames] == pytest.approx([0, 1 / 25, 3 / 25])
        for n, f in zip((7, 8, 10), frames, strict=True):
            assert np.array_equal(f.image, quarters(n))
    assert [f.index for f in clip.frames(2)] == [2]


def test_two_sequences_in_one_folder_must_be_told_apart(tmp_path):
    for name in ("a1.png", "a2.png", "b1.png"):
        write_picture(tmp_path / name, quarters())
    with pytest.raises(ClipError, match="several sequences"):
        open_clip(tmp_path)
    assert open_clip(tmp_path / "a1.png").frame_count == 2


def test_sequence_stops_at_a_broken_or_odd_sized_picture(tmp_path):
    for n in range(3):
        write_picture(tmp_path / f"p{n}.jpg", quarters())
    write_picture(tmp_path / "p3.jpg", quarters(w=W + 16))
    clip = open_clip(tmp_path)
    assert len(list(clip)) == 3 and "another size" in clip.damage
    (tmp_path / "p2.jpg").write_bytes(b"not a jpeg")
    assert len(list(clip)) == 2 and "cannot be read" in clip.damage


def test_names_with_percent_signs_are_plain_names(tmp_path):
    write_picture(tmp_path / "100%d.png", quarters())
    assert len(list(open_clip(tmp_path / "100%d.png"))) == 1
    assert isinstance(open_clip(write_movie(tmp_path / "50%d.mp4", 3)), MovieClip)
