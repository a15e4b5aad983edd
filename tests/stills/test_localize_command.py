"""`python -m backend localize` as a user runs it: a child process, files at the end or one sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from backend.draw.colours import colours
from backend.stills.pictures import read_picture

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: str | Path, home: Path) -> tuple[list[str], dict[str, str]]:
    environ = {**os.environ, "BODYFIELD_HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    return [sys.executable, "-m", "backend", "localize", *map(str, arguments)], environ


def localize(*arguments: str | Path, cwd: Path, lite: bool = True, **how) -> subprocess.CompletedProcess:
    chosen = ("--localizer", "landmarks-lite") if lite else ()
    line, environ = command(*arguments, *chosen, home=cwd / "home")
    return subprocess.run(
        line, env=environ, cwd=cwd, capture_output=True, encoding="utf-8", timeout=300, check=False, **how
    )


def said(ran: subprocess.CompletedProcess) -> list[str]:
    """Lines on stderr, which is no terminal here: no bars are among them."""
    return ran.stderr.splitlines()


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, person, pair, nobody, write) -> Path:
    """Pictures as they lie about: sizes, depths, a photo on its side, nobody, a broken one, and a text."""
    place = tmp_path_factory.mktemp("my pictures ü") / "ein gabe"
    write(place / "p10.jpg", person)
    write(place / "p9.png", pair)
    # As a phone saves a portrait: on its side, with the turn that makes it upright.
    write(place / "sub" / "phone.jpg", np.rot90(person), turned=6)
    write(place / "empty.png", nobody)
    (place / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more than that")
    (place / "notes.txt").write_text("not a picture", encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """One run over the folder; -> what it said, the folder it ran in."""
    cwd = tmp_path_factory.mktemp("run")
    ran = localize(
        folder, "-o", "new/out.npz", "-o", "new/sheet.png", "--points", "coco_17", "--fov", "60", cwd=cwd
    )
    assert ran.returncode == 0, ran.stderr
    return ran, cwd


def test_a_folder_becomes_rows_in_natural_order(run):
    _, cwd = run
    data = load(cwd / "new" / "out.npz")
    assert data["files"].tolist() == [
        "broken.jpg",
        "empty.png",
        "p9.png",
        "p9.png",
        "p10.jpg",
        "sub/phone.jpg",
    ]
    assert data["points3d"].shape == (6, 17, 3) and data["points2d"].shape == (6, 17, 2)
    assert data["names"].tolist()[:2] == ["nose", "left_eye"] and data["edges"].max() < 17
    assert (str(data["localizer"]), str(data["points"])) == ("landmarks-lite", "coco_17")
    assert str(data["version"])[0].isdigit()
    nan = np.isnan(data["points3d"]).all((1, 2))
    assert nan.tolist() == [True, True, False, False, False, False]
    assert np.isnan(data["boxes"][:2]).all() and np.isnan(data["uncertainty"][:2]).all()
    assert sorted(p.name for p in (cwd / "new").iterdir()) == ["out.npz", "sheet.png"]


def test_the_json_counts_and_the_notices_tell(run):
    ran, _ = run
    report = json.loads(ran.stdout)
    assert (report["pictures"], report["people"], report["without_people"]) == (5, 4, 2)
    assert [Path(f).name for f in report["files"]] == ["out.npz", "sheet.png"]
    assert report["seconds"] > 0 and 0.01 < report["mean_uncertainty"] < 0.2
    lines = said(ran)
    assert any(line.startswith("1 file(s) in ") and line.endswith("were skipped.") for line in lines)
    assert any("1 picture(s) could not be read" in line and "broken.jpg" in line for line in lines)
    assert all(line.endswith(".") for line in lines)


def test_points_project_to_the_pixels_of_the_upright_picture(run, person):
    data = load(run[1] / "new" / "out.npz")
    row = data["files"].tolist().index("p10.jpg")
    K = data["intrinsics"][row]
    assert K[0, 0] == pytest.approx(480 / np.tan(np.deg2rad(30))) and K[0, 2] == 269.5
    uvw = data["points3d"][row] @ K.T
    np.testing.assert_allclose(uvw[:, :2] / uvw[:, 2:], data["points2d"][row], atol=0.05)
    # A photo that lies on its side is the same photo.
    phone = data["files"].tolist().index("sub/phone.jpg")
    np.testing.assert_allclose(data["points2d"][row], data["points2d"][phone], atol=4)
    np.testing.assert_array_equal(K, data["intrinsics"][phone])
    height, width = person.shape[:2]
    assert ((data["points2d"][row] > 0) & (data["points2d"][row] < [width, height])).all()


def test_the_sheet_is_a_picture_of_what_was_found(run):
    sheet = read_picture(run[1] / "new" / "sheet.png")
    data = load(run[1] / "new" / "out.npz")
    assert sheet.shape[0] > 500 and sheet.shape[1] > 900
    green = np.median(colours(data["uncertainty"][2:].ravel()), axis=0)
    assert (np.abs(sheet.astype(np.int16) - green.astype(np.int16)).max(-1) < 40).sum() > 500


@pytest.fixture(scope="module")
def clip(tmp_path_factory, pair) -> Path:
    """Four frames at 20 frames/s: one picture, moved to the right by 8 pixels a frame."""
    path = tmp_path_factory.mktemp("clips") / "walk.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(20), options={"crf": "16"})
        stream.width, stream.height, stream.pix_fmt = 408, 720, "yuv420p"
        for k in range(4):
            picture = np.roll(pair, 8 * k, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_movie_becomes_rows_and_a_movie(clip, tmp_path):
    points = tmp_path / "points.json"
    points.write_text(json.dumps([{"name": "heart", "position": [0.03, 0.1, 0.02], "space": "body"},
                                  {"name": "left hand", "joint": "left_wrist"}]), encoding="utf-8")  # fmt: skip
    ran = localize(clip, "--points", points.name, "-o", "a.npz", "-o", "b.mp4", "-o", "c.jpg", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    data = load(tmp_path / "a.npz")
    assert data["names"].tolist() == ["heart", "left hand"] and str(data["points"]) == "points"
    assert sorted(set(data["files"].tolist())) == [f"walk.mp4#00000{k}" for k in range(4)]
    np.testing.assert_allclose(data["times"], [int(f[-1]) / 20 for f in data["files"]], atol=1e-3)
    nearer = data["points2d"][np.array([f.endswith(("0", "3")) for f in data["files"]])]
    assert len(nearer) >= 2 and np.isfinite(nearer).all()
    with av.open(str(tmp_path / "b.mp4")) as movie:
        frames = list(movie.decode(video=0))
    assert len(frames) == 4 and frames[0].width > 700 and frames[0].height >= 720
    # The heart of the surest person, in the movie's first frame, has the colour of its uncertainty.
    drawn = frames[0].to_ndarray(format="rgb24").astype(int)
    x, y = data["points2d"][0, 0].round().astype(int)
    wanted = colours(data["uncertainty"][:1, 0])[0]
    assert np.abs(drawn[y - 1 : y + 2, x - 1 : x + 2] - wanted).max(-1).min() < 60
    assert read_picture(tmp_path / "c.jpg").shape[1] > 900


def test_boxes_and_coordinates_in_place_of_a_search(folder, tmp_path):
    table = tmp_path / "boxes.csv"
    rows = [
        "sub\\phone.jpg,30,140,330,480",
        "p10.jpg,30,140,330,480",
        "p10.jpg,100,150,200,450",
        "gone.jpg,1,2,3,4",
    ]
    table.write_text("file,x,y,width,height\n" + "\n".join(rows), encoding="utf-8")
    ran = localize(folder, "--boxes", table, "--points", "-0.1,0.2,0.05; 0.1,0.2,0.05", "-o", "x.npz",
                   "--batch", "2", cwd=tmp_path)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    data = load(tmp_path / "x.npz")
    assert data["files"].tolist() == [
        "broken.jpg",
        "empty.png",
        "p9.png",
        "p10.jpg",
        "p10.jpg",
        "sub/phone.jpg",
    ]
    assert np.isnan(data["boxes"][:3]).all()
    np.testing.assert_allclose(
        data["boxes"][3:], [[30, 140, 330, 480], [100, 150, 200, 450], [30, 140, 330, 480]]
    )
    assert data["points2d"].shape == (6, 2, 2)
    assert ((data["points2d"][3:] > [100, 150]) & (data["points2d"][3:] < [300, 450])).all()
    assert (
        data["points2d"][4, 0, 0] < data["points2d"][4, 1, 0]
    )  # the right breast is on the left of the picture
    assert any("1 row(s) of boxes.csv name no picture" in line for line in said(ran))
    # The broken picture was never asked for a box: it is told on its own line.
    assert any("2 picture(s) are not in boxes.csv" in line for line in said(ran))


def test_nobody_in_one_picture_is_no_failure(tmp_path, nobody, write):
    write(tmp_path / "n.png", nobody)
    ran = localize("n.png", "-o", "n.npz", "-o", "n_sheet.png", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["people"] == 0 and json.loads(ran.stdout)["mean_uncertainty"] is None
    assert any("Nobody was found" in line for line in said(ran))
    assert np.isnan(load(tmp_path / "n.npz")["points3d"]).all() and (tmp_path / "n_sheet.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone.jpg", "-o", "o/x.npz"], "no file or folder gone.jpg"),
        (["p.png", "-o", "o/x.npz", "--localizer", "magic"], "no localizer called 'magic'"),
        (["p.png", "-o", "o/x.npz", "--points", "left_tail"], "left_tail"),
        (["p.png", "-o", "text.txt/x.npz"], "text.txt/x.npz could not be written"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(arguments, words, tmp_path, nobody, write):
    write(tmp_path / "p.png", nobody)
    (tmp_path / "text.txt").write_text("x")
    before = sorted(p.name for p in tmp_path.iterdir())
    ran = localize(*arguments, cwd=tmp_path, lite="--localizer" not in arguments)
    assert ran.returncode == 1 and ran.stdout == ""
    assert len(said(ran)) == 1 and words in said(ran)[0].replace("\\", "/") and said(ran)[0].endswith("."), (
        ran.stderr
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["p.png", "-o", "x.npy"], "x.npy ends in none of .npz, .png"),
        (["p.png", "-o", "x.mp4"], "p.png is none: ask for .png"),
        (["p.png", "-o", "d.npz"], "d.npz is a folder"),
        (["p.png", "-o", "p.png"], "p.png is to be read"),
        ([".", "-o", "sheet.png"], "would lie among the pictures"),
        (["p.png", "-o", "x.npz", "--batch", "0"], "--batch must lie between 1 and 4096, not 0"),
        (["p.png", "-o", "x.npz", "--num-aug", "-2"], "--num-aug must lie between"),
        (["p.png", "-o", "x.npz", "--num-aug", "5"], "several views"),
        (["p.png", "-o", "x.npz", "--max-people", "0"], "max_people"),
        (["p.png", "-o", "x.npz", "--fov", "400"], "fov"),
        (["p.png", "-o", "x.npz", "--device", "abacus"], "abacus"),
        (["p.png", "-o", "x.npz", "--body", "gone.npz"], "gone.npz"),
        (["p.png", "-o", "x.npz", "--boxes", "gone.csv"], "gone.csv"),
        (["p.png", "-o", "x.npz", "--points", "1,2"], "2 numbers"),
    ],
)
def test_every_wrong_option_is_one_sentence(arguments, words, tmp_path, nobody, write, monkeypatch, capsys):
    """In this process, for speed: the same program from its front door on."""
    import backend.__main__ as front

    write(tmp_path / "p.png", nobody)
    (tmp_path / "d.npz").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "argv", ["backend", "localize", *arguments])
    with pytest.raises(SystemExit) as end:
        front.run()
    out, err = capsys.readouterr()
    lines = err.strip().splitlines()
    assert end.value.code == 1 and out == ""
    assert len(lines) == 1 and words in lines[0] and lines[0].endswith("."), err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.npz", "p.png"]


@pytest.mark.skipif(
    os.name == "nt", reason="Windows cannot bound a file's size, nor send Ctrl-C to one child"
)
def test_a_full_disk_leaves_nothing_half_written(folder, tmp_path):
    import resource

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    ran = localize(folder / "p10.jpg", "-o", "o/x.npz", cwd=tmp_path, preexec_fn=small)
    assert ran.returncode == 1 and "x.npz could not be written" in said(ran)[-1] and len(said(ran)) == 1, (
        ran.stderr
    )
    assert list((tmp_path / "o").iterdir()) == []


@pytest.mark.skipif(
    os.name == "nt", reason="Windows cannot bound a file's size, nor send Ctrl-C to one child"
)
def test_ctrl_c_keeps_what_was_finished(tmp_path, person, write):
    for k in range(400):
        write(tmp_path / "many" / f"{k}.jpg", person[::2, ::2])
    line, environ = command(
        "many", "-o", "x.npz", "--batch", "1", "--localizer", "landmarks-lite", home=tmp_path
    )
    child = subprocess.Popen(
        line,
        env={**environ, "FORCE_COLOR": "1"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A suite that was started in the background hands on that Ctrl-C is to be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    text = b""
    while b"2/400" not in text and child.poll() is None:
        text += os.read(child.stderr.fileno(), 4096)
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 130 and out == b"", err
    assert b"Traceback" not in text + err
    data = load(tmp_path / "x.npz")
    count = len(data["files"])
    assert 2 <= count < 400 and data["files"].tolist() == [f"{k}.jpg" for k in range(count)]
    assert f"Stopped after {count} of 400 pictures: x.npz holds these.".encode() in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["many", "x.npz"]
