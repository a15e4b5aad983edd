"""TRC, C3D and CSV, read back by readers that know the formats and not our writers."""

import csv
import re

import numpy as np
import pytest

from blender_addon.points.canonical import PointError
from blender_addon.points.markerfiles import write_c3d, write_csv, write_trc

from .c3dreader import read_c3d


def walk(n: int = 50, count: int = 5, seed: int = 0):
    rng = np.random.default_rng(seed)
    names = [f"M{i}" for i in range(count)]
    return names, np.arange(11, 11 + n), rng.normal(0, 2, (n, count, 3)), rng.uniform(0.001, 0.2, (n, count))


@pytest.mark.parametrize(
    ("n", "count", "rate"), [(50, 5, 30.0), (1, 1, 59.94), (3, 300, 120.0), (400, 17, 29.97)]
)
def test_c3d_comes_back(tmp_path, n, count, rate):
    names, frames, positions, unsure = walk(n, count)
    write_c3d(tmp_path / "a.c3d", names, frames, positions, unsure, rate)
    found = read_c3d(tmp_path / "a.c3d")
    assert found["labels"] == names and found["units"] == "mm"
    assert found["rate"] == pytest.approx(rate) and found["header_rate"] == pytest.approx(rate)
    assert np.abs(found["points"] - 1000 * positions).max() < 1e-3
    assert np.abs(found["residuals"] - 1000 * unsure).max() <= 0.5001


def test_c3d_marks_what_is_missing_and_caps_what_is_wild(tmp_path):
    names, frames, positions, unsure = walk(4, 3)
    positions[2, 1] = np.nan
    unsure[0, 0] = 7.0
    write_c3d(tmp_path / "a.c3d", names, frames, positions, unsure, 30.0)
    found = read_c3d(tmp_path / "a.c3d")
    assert np.isnan(found["residuals"][2, 1]) and np.isfinite(np.delete(found["residuals"].ravel(), 7)).all()
    assert found["residuals"][0, 0] == 255 and np.isfinite(found["points"]).all()


def test_c3d_refuses_what_it_cannot_hold(tmp_path):
    n = 65536
    with pytest.raises(PointError, match="65535 frames"):
        write_c3d(tmp_path / "a.c3d", ["M"], np.arange(n), np.zeros((n, 1, 3)), np.zeros((n, 1)), 30.0)
    assert not list(tmp_path.iterdir())


def test_other_readers_agree_on_c3d(tmp_path):
    """Where one of the two known readers is installed (`pip install ezc3d c3d`); ours above always runs."""
    names, frames, positions, unsure = walk(60, 260)
    write_c3d(tmp_path / "a.c3d", names, frames, positions, unsure, 59.94)
    read = 0
    try:
        import ezc3d

        found = ezc3d.c3d(str(tmp_path / "a.c3d"))
        assert found["parameters"]["POINT"]["UNITS"]["value"] == ["mm"]
        assert found["parameters"]["POINT"]["RATE"]["value"][0] == pytest.approx(59.94)
        assert np.abs(found["data"]["points"][:3].transpose(2, 1, 0) - 1000 * positions).max() < 1e-3
        # It does not decode the residual of floating-point files, only its sign.
        assert (found["data"]["meta_points"]["residuals"] >= 0).all()
        read += 1
    except ImportError:
        pass
    try:
        import c3d

        with (tmp_path / "a.c3d").open("rb") as file:
            reader = c3d.Reader(file)
            assert [label.strip() for label in reader.point_labels][:3] == names[:3]
            rows = [points for _, points, _ in reader.read_frames()]
        assert np.abs(np.stack(rows)[..., :3] - 1000 * positions).max() < 1e-3
        assert np.abs(np.stack(rows)[..., 3] - np.rint(1000 * unsure)).max() < 1e-3
        read += 1
    except ImportError:
        pass
    if not read:
        pytest.skip("neither ezc3d nor c3d is installed")


def test_trc_comes_back_with_y_up_in_millimetres(tmp_path):
    names, frames, positions, _ = walk()
    write_trc(tmp_path / "a.trc", names, frames, positions, 30.0)
    lines = (tmp_path / "a.trc").read_text().splitlines()
    assert lines[0] == "PathFileType\t4\t(X/Y/Z)\ta.trc"
    header = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))
    assert (header["NumFrames"], header["NumMarkers"], header["Units"]) == ("50", "5", "mm")
    assert lines[3].split("\t")[2::3][:5] == names and re.fullmatch(r"(\t[XYZ]\d){15}", lines[4][1:])
    assert lines[5] == ""
    table = np.array([line.split("\t") for line in lines[6:]], float)
    assert table[:, 0].tolist() == frames.tolist() and np.allclose(table[:, 1], np.arange(50) / 30, atol=1e-6)
    x, y, z = np.moveaxis(table[:, 2:].reshape(50, 5, 3) / 1000, -1, 0)
    assert np.abs(np.stack([x, -z, y], -1) - positions).max() < 1e-6


def test_csv_comes_back(tmp_path):
    names, frames, positions, unsure = walk()
    write_csv(tmp_path / "a.csv", names, frames, positions, unsure, 30.0)
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    for k, name in enumerate(names):
        read = np.array([[float(row[f"{name}_{part}"]) for part in ("x_m", "y_m", "z_m")] for row in rows])
        assert np.abs(read - positions[:, k]).max() < 1e-6
        assert np.allclose([float(row[f"{name}_uncertainty_m"]) for row in rows], unsure[:, k], atol=1e-6)
