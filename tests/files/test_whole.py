"""Files are there whole or not at all, whoever writes them, and a place that cannot be written ends in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.errors import JobError
from backend.files.whole import check_writable, file_aside, write_aside
from blender_addon.shared.whole import aside, part_of, write_text, write_whole
from installer.files import aside as installer_aside


def by_name(write, path: Path, fill) -> None:
    """Give `fill` an open file where `write` only gives a name."""
    with write(path) as part, part.open("wb") as out:
        fill(out)


WRITERS = {
    "write_whole": write_whole,
    "write_aside": write_aside,
    "aside": lambda path, fill: by_name(aside, path, fill),
    "file_aside": lambda path, fill: by_name(file_aside, path, fill),
    "installer": lambda path, fill: by_name(installer_aside, path, fill),
}


@pytest.fixture(params=WRITERS)
def write(request):
    return WRITERS[request.param]


def test_the_new_file_takes_the_place_of_the_old_one_at_the_end(write, tmp_path):
    path = tmp_path / "new" / "folder" / "a.bin"
    write(path, lambda out: out.write(b"old"))
    assert path.read_bytes() == b"old"

    def fill(out) -> None:
        out.write(b"new")
        out.flush()
        assert path.read_bytes() == b"old"
        others = [p for p in path.parent.iterdir() if p != path]
        assert [p.read_bytes() for p in others] == [b"new"] and others[0].name.startswith(".")

    write(path, fill)
    assert path.read_bytes() == b"new" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("trouble", [RuntimeError, KeyboardInterrupt])
def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(write, tmp_path, trouble):
    path = tmp_path / "a.bin"

    def fill(out) -> None:
        out.write(b"half of it")
        raise trouble

    with pytest.raises(trouble):
        write(path, fill)
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"old")
    with pytest.raises(trouble):
        write(path, fill)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_writers_that_open_files_themselves_find_their_ending(tmp_path):
    path = tmp_path / "a.npz"
    with aside(path) as part:
        assert part == part_of(path) and part.suffix == ".npz" and part.parent == path.parent
        np.savez(part, a=np.arange(3))
    with np.load(path) as data:
        assert data["a"].tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_keeps_its_letters_and_line_ends(tmp_path):
    write_text(tmp_path / "a.txt", "größer\n\r\nend")
    assert (tmp_path / "a.txt").read_bytes() == "größer\n\r\nend".encode()


def test_what_is_on_the_disk_when_it_returns(tmp_path):
    write_whole(tmp_path / "a.bin", lambda out: out.write(b"x" * 5000), durable=True)
    assert (tmp_path / "a.bin").stat().st_size == 5000


def cases(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "text.txt").write_text("in the way")
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "folder.npz" / "inside").touch()
    return {
        "below a file": tmp_path / "text.txt" / "deep" / "a.npz",
        "onto a folder": tmp_path / "folder.npz",
        "too long": tmp_path / f"{'a' * 300}.npz",
    }


@pytest.mark.parametrize("case", ["below a file", "onto a folder", "too long"])
def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path, case):
    path = cases(tmp_path)[case]
    before = sorted(tmp_path.rglob("*"))
    for write in (write_aside, WRITERS["file_aside"]):
        with pytest.raises(JobError) as caught:
            write(path, lambda out: out.write(b"x"))
        assert caught.value.code == "cannot_write"
        assert str(caught.value).startswith(f"{path} could not be written: ") and str(caught.value).endswith(
            "."
        )
    for write in (write_whole, WRITERS["aside"], WRITERS["installer"]):
        with pytest.raises(OSError):
            write(path, lambda out: out.write(b"x"))
    assert sorted(tmp_path.rglob("*")) == before


def test_whether_a_place_can_be_written_is_seen_beforehand(tmp_path):
    path = tmp_path / "new" / "a.npz"
    check_writable(path)
    assert list(path.parent.iterdir()) == []
    path.write_bytes(b"old")
    check_writable(path)
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]
    wrong = cases(tmp_path)
    for case in ("below a file", "too long"):
        with pytest.raises(JobError, match="could not be written: "):
            check_writable(wrong[case])
