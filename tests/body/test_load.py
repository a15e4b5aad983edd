"""What the loader takes, and what it refuses in one sentence."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest

from backend.body import load_body
from backend.errors import JobError

from .conftest import V, synthetic_arrays


@pytest.fixture(scope="module")
def small():
    """The synthetic body without its bulk: short shape space, no correctives."""
    arrays = synthetic_arrays()
    del arrays["posedirs"], arrays["joint2num"]
    arrays["shapedirs"] = arrays["shapedirs"][:, :, :20]
    return arrays


def refusal(path) -> str:
    with pytest.raises(JobError) as e:
        load_body(path)
    assert e.value.code == "bad_body"
    text = str(e.value)
    assert str(path) in text and "SMPLX_NEUTRAL.npz" in text and text.endswith(".") and "\n" not in text
    return text


def saved(tmp_path, arrays):
    path = tmp_path / "body.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.slow
def test_smplx_file_keeps_its_numbers(synthetic_file):
    arrays = synthetic_arrays()
    body = load_body(synthetic_file, betas=300, expressions=100)
    assert body.name == "smplx" and "licence" in body.licence_note
    assert np.array_equal(body.shapedirs, arrays["shapedirs"][:, :, :300])
    assert np.array_equal(body.exprdirs, arrays["shapedirs"][:, :, 300:])
    assert np.array_equal(body.posedirs[7].reshape(-1, 3), arrays["posedirs"][:, :, 7])
    assert np.array_equal(body.faces, arrays["f"]) and np.array_equal(body.faces_uv, arrays["ft"])
    assert np.allclose(body.joints_template, arrays["J_regressor"] @ arrays["v_template"], atol=1e-6)
    for name in ("v_template", "weights", "shapedirs", "joints_shapedirs", "J_regressor", "uv", "posedirs"):
        assert getattr(body, name).dtype == np.float32, name


@pytest.mark.slow
def test_only_as_many_directions_as_asked(synthetic_file):
    body = load_body(synthetic_file, betas=12, expressions=7)
    assert (body.n_betas, body.n_expressions) == (12, 7)
    assert np.array_equal(body.exprdirs[:, :, 0], synthetic_arrays()["shapedirs"][:, :, 300])
    assert body.joints_shapedirs.shape == (55, 3, 12)


def test_short_variant_has_ten_and_ten(small, tmp_path):
    body = load_body(saved(tmp_path, small))
    assert (body.n_betas, body.n_expressions) == (10, 10)
    assert np.array_equal(body.exprdirs[:, :, 0], small["shapedirs"][:, :, 10])
    assert body.posedirs is None


def test_a_pickle_inside_is_never_opened(small, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the loader unpickled an untrusted file",))

    path = saved(tmp_path, small | {"joint2num": np.array([Bomb()], dtype=object)})
    assert load_body(path).n_betas == 10
    path = saved(tmp_path, small | {"v_template": np.array([Bomb()], dtype=object)})
    assert "v_template" in refusal(path)


def test_missing_text_pickle_and_folder(tmp_path):
    assert "no such file" in refusal(tmp_path / "nothing.npz")
    text = tmp_path / "text.npz"
    text.write_text("I am a body\n" * 1000)
    assert "neither an .npz" in refusal(text)
    pkl = tmp_path / "SMPLX_NEUTRAL.pkl"
    pkl.write_bytes(pickle.dumps({"v_template": [1, 2, 3]}))
    assert "pickle" in refusal(pkl)
    refusal(tmp_path)
    empty = tmp_path / "empty.npz"
    empty.touch()
    refusal(empty)


@pytest.mark.parametrize(("joints", "name"), [(24, "SMPL"), (52, "SMPL-H"), (16, "16 joints")])
def test_other_models_are_named(small, tmp_path, joints, name):
    other = small | {
        "kintree_table": np.array([[-1, *range(joints - 1)], range(joints)]),
        "weights": small["weights"][:, :joints],
        "J_regressor": small["J_regressor"][:joints],
    }
    assert name in refusal(saved(tmp_path, other))


def test_random_npz_and_missing_arrays(small, tmp_path):
    assert "v_template" in refusal(saved(tmp_path, {"a": np.zeros(3)}))
    for name in ("f", "weights", "shapedirs", "J_regressor", "kintree_table"):
        assert f"holds no {name}" in refusal(saved(tmp_path, {k: v for k, v in small.items() if k != name}))


def test_uv_may_be_missing(small, tmp_path):
    body = load_body(saved(tmp_path, {k: v for k, v in small.items() if k not in ("vt", "ft")}))
    assert body.faces_uv.shape == body.faces.shape and body.faces_uv.max() < len(body.uv)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "word"),
    [
        ("v_template", lambda a: a[:-1], "size"),
        ("v_template", lambda a: a[:500], "500 vertices"),
        ("v_template", lambda a: np.where(a == a[3, 1], np.nan, a), "finite"),
        ("weights", lambda a: a * 0.5, "sum to 1"),
        ("weights", lambda a: a - 0.5, "sum to 1"),
        ("J_regressor", lambda a: a * 2, "sum to 1"),
        ("f", lambda a: a + V, "faces"),
        ("f", lambda a: a.astype(np.float32), "in place of"),
        ("shapedirs", lambda a: a[:, :2], "size"),
        ("shapedirs", lambda a: a.astype(str), "in place of"),
        ("kintree_table", lambda a: a[:, ::-1], "hang together"),
    ],
)
def test_damaged_arrays_are_named(small, tmp_path, name, change, word):
    text = refusal(saved(tmp_path, small | {name: change(small[name])}))
    assert word in text and (
        name in text or word in ("500 vertices", "sum to 1", "faces", "hang together", "size")
    )


def test_truncated_and_flipped_files(small, tmp_path):
    path = saved(tmp_path, small)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refusal(path)
    at = data.index(b"v_template.npy") + 5000
    path.write_bytes(data[:at] + bytes(b ^ 255 for b in data[at : at + 64]) + data[at + 64 :])
    assert "damaged" in refusal(path)


def test_a_header_that_promises_too_much_is_refused_before_reading(small, tmp_path):
    """A few bytes that claim to be terabytes must not be allocated."""
    path = saved(tmp_path, {k: v for k, v in small.items() if k != "shapedirs"})
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({V}, 3, 10000000000), }}"
    header = header + " " * (63 - (len(header) + 10) % 64) + "\n"
    with zipfile.ZipFile(path, "a") as z:
        z.writestr(
            "shapedirs.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
        )
    assert "too large" in refusal(path)


def test_a_header_that_stops_in_the_middle_is_damage(small, tmp_path):
    """numpy reads headers with Python's tokenizer, whose own kind of error must not come through."""
    path = saved(tmp_path, small)
    with zipfile.ZipFile(path) as z:
        members = {i.filename: z.read(i) for i in z.infolist()}
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000, 3L".ljust(117) + b"\n"
    members["v_template.npy"] = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    with zipfile.ZipFile(path, "w") as z:
        for name, data in members.items():
            z.writestr(name, data)
    assert "v_template is damaged" in refusal(path)
