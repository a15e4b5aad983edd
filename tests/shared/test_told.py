"""What files say of their lens; movies are muxed by PyAV, pictures and their EXIF are written byte by byte."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from blender_addon.shared.frames import clip_facts, open_clip
from blender_addon.shared.told import fov_from_35mm, movie_focal, read_exif

APPLE = "com.apple.quicktime.camera.focal_length.35mm_equivalent"
RED, GREEN, BLUE, WHITE = (230, 20, 20), (20, 200, 20), (20, 20, 230), (235, 235, 235)


def movie(path: Path, **tags: str) -> Path:
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as out:
        out.metadata.update(tags)
        stream = out.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        out.mux(stream.encode())
    return path


def box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", len(payload) + 8, kind) + payload


def with_track_tag(path: Path, kind: int, payload: bytes) -> Path:
    """The movie with a tag in its track, as Apple's phones write it."""
    key = box(b"keys", struct.pack(">II", 0, 1) + box(b"mdta", APPLE.encode()))
    value = box(b"data", struct.pack(">II", kind, 0) + payload)
    handler = box(b"hdlr", struct.pack(">II4s12x", 0, 0, b"mdta") + b"\0")
    meta = box(b"meta", handler + key + box(b"ilst", struct.pack(">II", len(value) + 8, 1) + value))
    data = path.read_bytes()
    # The index comes last in these files, and in it the track's box is one of several.
    start = data.rindex(b"moov") - 4
    trak = data.index(b"trak", start) - 4
    end = trak + struct.unpack_from(">I", data, trak)[0]
    grown = data[:end] + meta + data[end:]
    for at in (start, trak):
        length = struct.pack(">I", struct.unpack_from(">I", data, at)[0] + len(meta))
        grown = grown[:at] + length + grown[at + 4 :]
    path.write_bytes(grown)
    return path


def tiff(order: str, orientation: int, focal: int | None) -> bytes:
    """A TIFF structure with an orientation, and a directory of EXIF with a focal length in 35 mm terms."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    short = lambda tag, v: struct.pack(order + "HHIHH", tag, 3, 1, v, 0)  # noqa: E731
    first = struct.pack(order + "H", 2) + short(0x0112, orientation)
    first += struct.pack(order + "HHII", 0x8769, 4, 1, 38) + bytes(4)
    inner = struct.pack(order + "H", 0 if focal is None else 1)
    return (
        mark
        + struct.pack(order + "I", 8)
        + first
        + inner
        + (short(0xA405, focal) if focal else b"")
        + bytes(4)
    )


def jpeg(path: Path, exif: bytes) -> Path:
    """A JPEG with four coloured quarters, red in the top left one as it is stored."""
    image = np.empty((48, 64, 3), np.uint8)
    image[:24, :32], image[:24, 32:], image[24:, :32], image[24:, 32:] = RED, GREEN, BLUE, WHITE
    context = av.CodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt, context.time_base = 64, 48, "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(image).reformat(format="yuvj420p")
    data = b"".join(bytes(p) for p in (*context.encode(frame), *context.encode()))
    payload = b"Exif\0\0" + exif
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + data[2:])
    return path


@pytest.mark.parametrize("suffix", [".mov", ".mp4"])
def test_a_movie_tells_its_lens_by_apples_key(tmp_path: Path, suffix: str):
    with open_clip(movie(tmp_path / f"a{suffix}", **{APPLE: "26.00mm"})) as clip:
        assert clip.focal_35mm == 26
        assert clip_facts(clip)["focal_35mm"] == 26


@pytest.mark.parametrize(
    "kind, payload", [(1, b"77.00mm"), (21, struct.pack(">i", 77)), (23, struct.pack(">f", 77.0))]
)
def test_a_track_tells_it_too(tmp_path: Path, kind: int, payload: bytes):
    with open_clip(with_track_tag(movie(tmp_path / "a.mov"), kind, payload)) as clip:
        assert clip.focal_35mm == 77
        assert len(list(clip)) == 3


@pytest.mark.parametrize("value", ["-13", "0", "", "wide", "99999"])
def test_a_value_that_no_lens_has_is_none(tmp_path: Path, value: str):
    assert movie_focal({APPLE: value}) is None
    with open_clip(movie(tmp_path / "a.mov")) as clip:
        assert clip.focal_35mm is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_picture_tells_its_lens_by_exif(tmp_path: Path, order: str):
    with open_clip(jpeg(tmp_path / "a.jpg", tiff(order, 1, 28))) as clip:
        assert (clip.focal_35mm, clip.width, clip.height) == (28, 64, 48)
    with open_clip(jpeg(tmp_path / "b.jpg", tiff(order, 1, None))) as clip:
        assert clip.focal_35mm is None


CORNERS = {1: (RED, GREEN), 2: (GREEN, RED), 3: (WHITE, BLUE), 4: (BLUE, WHITE), 5: (RED, BLUE), 6: (BLUE, RED),
           7: (WHITE, GREEN), 8: (GREEN, WHITE)}  # fmt: skip
"""Colours of the upper corners when the picture is shown, by its orientation."""


@pytest.mark.parametrize("lies", CORNERS)
def test_a_picture_with_exif_is_read_as_it_is_shown(tmp_path: Path, lies: int):
    with open_clip(jpeg(tmp_path / "a.jpg", tiff("<", lies, 35))) as clip:
        (frame,) = clip
    assert frame.image.shape == ((64, 48, 3) if lies > 4 else (48, 64, 3))
    upper = frame.image[8, 8].astype(int), frame.image[8, -8].astype(int)
    assert np.abs(np.array(upper) - np.array(CORNERS[lies])).max() < 40


@pytest.mark.parametrize("cut", [0, 1, 8, 9, 20, 37, 40, 49])
def test_damaged_exif_says_nothing_and_stops_nobody(tmp_path: Path, cut: int):
    file = tmp_path / "a.jpg"
    file.write_bytes(b"\xff\xd8Exif\0\0" + tiff("<", 6, 28)[:cut])
    assert read_exif(file).focal_35mm is None


def test_the_equivalent_is_one_of_diagonals():
    # A full frame of 36 x 24 mm, and the movie of a phone's main camera, as wide as its 4:3 pictures.
    assert fov_from_35mm(50, 6000, 4000) == pytest.approx(39.6, abs=0.1)
    assert fov_from_35mm(26, 4032, 3024) == pytest.approx(67.3, abs=0.1)
    assert fov_from_35mm(26, 1920, 1080) == fov_from_35mm(26, 1080, 1920) == pytest.approx(67.3, abs=0.1)
