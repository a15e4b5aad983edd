"""Files become upright 8-bit RGB, or one sentence; folders come in the order in which people count."""

from __future__ import annotations

import struct
import time
import zlib

import av
import cv2
import numpy as np
import pytest

from backend.errors import JobError
from backend.stills.pictures import Pictures, natural_key, open_pictures, orientation, read_picture

UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.rot90(np.fliplr(a)),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.fliplr(a), -1),
    8: np.rot90,
}
"""From what is stored to what is seen, by the words of the EXIF standard: row 0 and column 0 of 6 are right and top."""


@pytest.fixture(scope="module")
def blocks() -> np.ndarray:
    """(40, 56, 3) blocks of colours, none like another."""
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 255, (5, 7, 3), np.uint8), (56, 40), interpolation=cv2.INTER_NEAREST)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def exif(value: int, order: str = "<") -> bytes:
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(
        f"{order}IHHHIHHI", 8, 1, 0x112, 3, 1, value, 0, 0
    )


def stored(kind: str, image: np.ndarray, value: int) -> bytes:
    """A file of that kind whose EXIF says `value`."""
    data = cv2.imencode(f".{kind}", image[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    if kind == "png":
        return data[:33] + chunk(b"eXIf", exif(value, ">")) + data[33:]
    if kind == "webp":
        h, w = image.shape[:2]
        head = (
            b"VP8X"
            + struct.pack("<IB3x", 10, 8)
            + (w - 1).to_bytes(3, "little")
            + (h - 1).to_bytes(3, "little")
        )
        inner = head + data[12:] + b"EXIF" + struct.pack("<I", len(exif(value))) + exif(value)
        return b"RIFF" + struct.pack("<I", len(inner) + 4) + b"WEBP" + inner
    # TIFF: the table of tags once more at the end, with one more tag.
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    tags = [data[start + 2 + 12 * k : start + 14 + 12 * k] for k in range(count)]
    tags = [t for t in tags if t[:2] != b"\x12\x01"] + [struct.pack("<HHIHH", 0x112, 3, 1, value, 0)]
    table = struct.pack("<H", len(tags)) + b"".join(sorted(tags, key=lambda t: struct.unpack("<H", t[:2])))
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + table + bytes(4)


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "webp", "tiff"])
def test_orientation_is_applied_once_to_every_kind(kind, value, blocks, tmp_path):
    (tmp_path / f"a.{kind}").write_bytes(stored(kind, blocks, value))
    np.testing.assert_array_equal(read_picture(tmp_path / f"a.{kind}"), UPRIGHT[value](blocks))


@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_of_photos(value, blocks, write, tmp_path):
    seen = read_picture(write(tmp_path / "a.jpg", blocks, turned=value))
    assert np.abs(seen.astype(int) - UPRIGHT[value](blocks)).mean() < 12  # JPEG's own loss at hard edges


def test_damaged_exif_is_no_error(blocks, write, tmp_path):
    data = write(tmp_path / "a.jpg", blocks, turned=6).read_bytes()
    for kind in (data, stored("png", blocks, 6), stored("webp", blocks, 6)):
        for end in range(len(kind)):
            assert orientation(kind[:end]) in (1, 6)
    endless = data.replace(struct.pack(">I", 8) + b"\0\x01", struct.pack(">I", 0xFFFFFF) + b"\0\x01")
    assert endless != data and orientation(endless) == 1


def test_depth_grey_and_transparency(blocks, write, tmp_path):
    grey = blocks[..., 0].copy()
    np.testing.assert_array_equal(read_picture(write(tmp_path / "g.png", grey)), grey[..., None].repeat(3, 2))
    deep = write(tmp_path / "d.png", blocks.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_picture(deep), blocks)
    deep_grey = write(tmp_path / "dg.png", grey.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_picture(deep_grey), grey[..., None].repeat(3, 2))
    alpha = np.zeros((40, 56, 1), np.uint8)
    alpha[:20] = 255
    seen = read_picture(write(tmp_path / "t.png", np.concatenate([blocks, alpha], 2)))
    np.testing.assert_array_equal(seen[:20], blocks[:20])
    assert (seen[20:] == 255).all()


def test_tga_is_read_too(blocks, tmp_path):
    path = tmp_path / "a.tga"
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("targa", rate=1)
        stream.width, stream.height, stream.pix_fmt = 56, 40, "bgr24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(blocks, format="rgb24")))
        container.mux(stream.encode())
    np.testing.assert_array_equal(read_picture(path), blocks)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jpg", b"", "is empty"),
        ("a.png", b"hello", "damaged or not a picture"),
        ("a.tga", b"ffconcat version 1.0\nfile b.png\n", "damaged or not a picture"),
        ("a.png", None, "damaged or not a picture"),  # cut off
        ("a.tiff", "float", "float32 numbers"),
        ("a.png", "huge", "more pixels than can be read"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_few_words(name, data, words, blocks, write, tmp_path):
    write(tmp_path / "b.png", blocks)
    if data is None:
        whole = cv2.imencode(".png", blocks)[1].tobytes()
        data = whole[: len(whole) * 2 // 3]
    elif data == "float":
        data = cv2.imencode(".tiff", blocks.astype(np.float32))[1].tobytes()
    elif data == "huge":
        head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    (tmp_path / name).write_bytes(data)
    with pytest.raises(JobError, match=words) as error:
        open_pictures(tmp_path / name)
    assert error.value.code == "bad_picture" and name in str(error.value)


def test_a_folder_to_its_depth_in_the_order_people_count(blocks, write, tmp_path):
    for name in ("p10.png", "p9.PNG", "b/ü2.jpg", "b/ü10.jpg", "B1.bmp", ".hidden.png", ".git/x.png"):
        path = tmp_path / name
        data = cv2.imencode(path.suffix.lower(), blocks)[1].tobytes()
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "p11.jpg").write_bytes(b"broken")
    pictures = open_pictures(tmp_path)
    assert pictures.names == ["b/ü2.jpg", "b/ü10.jpg", "B1.bmp", "p9.PNG", "p10.png", "p11.jpg"]
    assert pictures.total == 6 and pictures.notices[0].startswith("1 file(s) in ")
    seen = list(pictures)
    assert [p.name for p in seen] == pictures.names
    assert [p.image is None for p in seen] == [False] * 5 + [True]
    assert seen[5].problem == "p11.jpg is damaged or not a picture."
    assert [p.name for p in pictures.only({"p10.png", "b/ü2.jpg"})] == ["b/ü2.jpg", "p10.png"]


def test_natural_order():
    names = ["a10", "a2", "A3", "10", "9", "a2/9", "a2/10", "a"]
    assert sorted(names, key=natural_key) == ["9", "10", "a", "a2", "a2/9", "a2/10", "A3", "a10"]


def test_frames_of_a_movie_have_times_and_numbers(tmp_path, blocks):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 56, 40, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(blocks, format="rgb24")))
        container.mux(stream.encode())
    pictures = open_pictures(path)
    seen = list(pictures)
    assert pictures.names is None and pictures.total == 5
    assert [p.name for p in seen] == [f"clip.mp4#00000{k}" for k in range(5)]
    assert [p.time_s for p in seen] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert [p.name for p in pictures.only({"clip.mp4#000003", "clip.mp4#000001"})] == [
        "clip.mp4#000001",
        "clip.mp4#000003",
    ]


def test_reading_ahead_keeps_few_pictures(tmp_path, blocks, write, monkeypatch):
    """A folder of large pictures is never in memory at a time: few are read before they are asked for."""
    for k in range(40):
        write(tmp_path / f"{k}.png", blocks)
    read = []
    files = {f"{k}.png": tmp_path / f"{k}.png" for k in range(40)}
    real = read_picture
    monkeypatch.setattr(
        "backend.stills.pictures.read_picture", lambda file: (read.append(file), real(file))[1]
    )
    pictures = iter(Pictures(tmp_path, files, None))
    for _ in range(3):
        next(pictures)
    time.sleep(0.3)  # of small pictures all 40 would be read by then
    assert len(read) <= 3 + 5
    pictures.close()
    assert len(read) <= 3 + 5


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda p: None, "no_input", "There is no file or folder"),
        (lambda p: p.mkdir(), "no_input", "holds no pictures"),
        (lambda p: p.write_text("hello"), "bad_picture", "neither a picture nor a movie"),
    ],
)
def test_nothing_to_read_is_one_sentence(make, code, words, tmp_path):
    make(tmp_path / "thing")
    with pytest.raises(JobError, match=words) as error:
        open_pictures(tmp_path / "thing")
    assert error.value.code == code and str(error.value).endswith(".")
