"""SMPL-X, SMPL-H and SMPL files: read by what is in them, posed as the reference implementation poses them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import smplx
import torch

from backend.body import JOINT, JOINT_NAMES, body_landmarks, forward, load_body
from backend.body.landmarks import LANDMARK_NAMES
from backend.body.places import joint_points
from backend.errors import JobError

from .family import NEEDED, ROWS, SMALL, as_released, blob, foreign, person, write

KINDS = tuple(ROWS)


def oracle(kind: str, path, betas: int, frames: int):
    same = {"batch_size": frames, "num_betas": betas}
    if kind == "smpl":
        return smplx.SMPL(str(path), **same)
    free = {"use_pca": False, "flat_hand_mean": True, "ext": path.suffix[1:]}
    return (smplx.SMPLH if kind == "smplh" else smplx.SMPLX)(str(path), **same, **free)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".npz", ".pkl"])
@pytest.mark.parametrize("kind", KINDS)
def test_forward_kinematics_are_those_of_the_reference(tmp_path, kind, ending):
    arrays, rows, n, betas = blob(kind, NEEDED[kind]), list(ROWS[kind]), 4, 10
    # The reference reads SMPL from pickles only; ours is given either.
    reference = write(tmp_path / f"reference{'.pkl' if kind == 'smpl' else ending}", arrays)
    body = load_body(write(tmp_path / f"any_name{ending}", arrays), betas=betas)
    rng = np.random.default_rng(1)
    draw = lambda *shape: torch.from_numpy(rng.normal(0, 1, shape).astype(np.float32))  # noqa: E731
    pose, shape, trans = 0.6 * draw(n, len(rows), 3), draw(n, betas), 3 * draw(n, 3)
    flat = lambda a, b: pose[:, a:b].reshape(n, -1)  # noqa: E731
    body_end = 24 if kind == "smpl" else 22
    given = {"global_orient": pose[:, 0], "body_pose": flat(1, body_end), "betas": shape, "transl": trans}
    if kind != "smpl":
        hands = 25 if kind == "smplx" else 22
        given |= {"left_hand_pose": flat(hands, hands + 15), "right_hand_pose": flat(hands + 15, hands + 30)}
    if kind == "smplx":
        given |= {"jaw_pose": pose[:, 22], "leye_pose": pose[:, 23], "reye_pose": pose[:, 24]}
    with torch.no_grad():
        theirs = oracle(kind, reference, betas, n)(**given)
    full = torch.zeros(n, 55, 3)
    full[:, rows] = pose
    ours = forward(body.to(), full, shape, trans, vertices=True)
    assert (ours.vertices - theirs.vertices).norm(dim=-1).max() <= 1e-5
    assert (ours.joints[:, rows] - theirs.joints[:, : len(rows)]).norm(dim=-1).max() <= 1e-5
    assert (body.name, np.flatnonzero(body.present).tolist()) == (kind, rows)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("kind", ["smplh", "smpl"])
def test_pickles_as_they_are_released(tmp_path, kind, protocol):
    arrays = blob(kind)
    plain = load_body(write(tmp_path / "plain.npz", arrays), betas=300)
    body = load_body(as_released(tmp_path / "male_body", arrays, protocol), betas=300)
    assert body.n_betas == arrays["shapedirs"].shape[2] and body.n_expressions == 0
    for name in ("v_template", "weights", "shapedirs", "posedirs", "J_regressor", "joints_template", "faces"):
        assert np.array_equal(getattr(body, name), getattr(plain, name)), name


def test_shape_directions_of_the_releases(tmp_path):
    for kind, columns, asked, kept in (("smplh", 16, 16, 16), ("smplh", 10, 16, 10), ("smpl", 10, 16, 10),
                                       ("smpl", 300, 16, 16), ("smpl", 300, 300, 300)):  # fmt: skip
        arrays = blob(kind)
        arrays["shapedirs"] = np.resize(arrays["shapedirs"], (*arrays["shapedirs"].shape[:2], columns))
        body = load_body(write(tmp_path / "body.npz", arrays), betas=asked)
        assert (body.n_betas, body.n_expressions) == (kept, 0)


def test_a_root_of_minus_one_and_a_body_without_correctives(tmp_path):
    arrays = blob("smpl")
    arrays["kintree_table"] = arrays["kintree_table"].astype(np.int64)
    arrays["kintree_table"][0, 0] = -1
    del arrays["posedirs"]
    assert load_body(write(tmp_path / "x.pkl", arrays)).posedirs is None


def refusal(path) -> str:
    with pytest.raises(JobError) as e:
        load_body(path)
    assert e.value.code == "bad_body"
    text = str(e.value)
    assert str(path) in text and "SMPL_MALE.pkl" in text and text.endswith(".") and "\n" not in text
    return text


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".npz", ".pkl"])
def test_others_are_refused_in_one_sentence(tmp_path, ending):
    good, path = blob("smpl"), tmp_path / f"body{ending}"
    star = {**good, "posedirs": np.zeros((SMALL, 3, 93))}
    assert f"its posedirs has the size {SMALL} x 3 x 93" in refusal(write(path, star))
    other = good["kintree_table"].copy()
    other[0, 23] = 2
    assert "hang together in another way than SMPL's" in refusal(
        write(path, {**good, "kintree_table": other})
    )
    far = good["kintree_table"].copy()
    far[0, 5] = 77
    assert "hang together" in refusal(write(path, {**good, "kintree_table": far}))
    for J in (5, 16, 25, 75):
        fewer = {**good, "kintree_table": np.zeros((2, J), int)}
        assert f"it has {J} joints, not SMPL-X's 55, SMPL-H's 52 or SMPL's 24" in refusal(write(path, fewer))
    assert "its weights has the size" in refusal(write(path, {**good, "weights": good["weights"][:, :23]}))
    assert "do not sum to 1" in refusal(write(path, {**good, "J_regressor": 2 * good["J_regressor"]}))
    without = {k: a for k, a in good.items() if k != "shapedirs"}
    assert "holds no shapedirs" in refusal(write(path, without))


def test_damaged_and_foreign_pickles(tmp_path):
    good, path = blob("smpl"), tmp_path / "SMPL_MALE.pkl"
    path.write_bytes(b"cposix\nsystem\n(S'echo'\ntR.")
    assert "neither an .npz file nor a pickle" in refusal(path)
    path.write_bytes(b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00echo\x85R.")
    assert "could run code; nothing was run" in refusal(path)
    path.write_bytes(pickle.dumps([1, 2]))
    assert "holds no body" in refusal(path)
    whole = as_released(path, good).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in refusal(path)
    with foreign("strange.things", "Thing") as (thing,):
        value = thing()
        value.a = 1
        path.write_bytes(pickle.dumps({**good, "weights": value}))
    path.write_bytes(pickle.dumps({**good, "weights": "heavy"}))
    assert "its weights holds no numbers" in refusal(path)


@pytest.fixture(scope="module", params=["smplh", "smpl"])
def fewer(request, open_body, tmp_path_factory):
    path = tmp_path_factory.mktemp("family") / "model.npz"
    return load_body(write(path, person(open_body, request.param)))


@pytest.mark.slow
def test_joints_that_are_not_there_lie_where_the_skin_says(open_body, fewer):
    """The same mesh without its eyes, jaw and fingers gives their places back, other shapes about so."""
    absent = ~fewer.present
    assert np.abs(fewer.joints_template - open_body.joints_template).max() < 1e-5
    assert (fewer.weights[:, absent] == 0).all()
    from backend.body.load import _reference
    from backend.body.missing import place_missing

    for k in range(5):
        v = open_body.v_template + 1.5 * open_body.shapedirs[..., k]
        J = (open_body.joints_template + 1.5 * open_body.joints_shapedirs[..., k]).astype(float)
        found = place_missing(v.astype(float), fewer.weights, J, fewer.present, _reference)
        assert np.array_equal(found[fewer.present], J[fewer.present])
        assert np.linalg.norm(found - J, axis=1).max() < 4e-3
        assert np.linalg.norm(found - open_body.joints_template, axis=1)[absent].max() > 5e-4


@pytest.mark.slow
def test_landmarks_are_found_without_eyes_and_fingers(open_body, fewer):
    ours, theirs = (body_landmarks(b)[0].positions for b in (open_body, fewer))
    off = np.linalg.norm(ours - theirs, axis=1)
    assert off.max() < 0.008, dict(zip(LANDMARK_NAMES, off.round(4), strict=True))


def test_a_finger_that_is_not_there_moves_with_the_hand(open_body, tmp_path):
    fewer = load_body(write(tmp_path / "model.npz", person(open_body, "smpl")))
    points = joint_points(fewer, ["left_index2", "left_wrist", "left_eye_smplhf"])
    pose = torch.zeros(1, 55, 3)
    pose[0, JOINT["left_middle1"], 2] = -1.0  # SMPL's left hand joint
    pose[0, JOINT["left_index1"], 2] = 1.0  # a joint that is not there moves nothing
    at, bent = (forward(fewer.to(), p, torch.zeros(10), torch.zeros(1, 3), points=points).points[0]
                for p in (torch.zeros(1, 55, 3), pose))  # fmt: skip
    moved = (bent - at).norm(dim=1)
    assert moved[0] > 0.01 and moved[1] < 1e-6 and moved[2] < 1e-6


def test_all_names_stay(fewer):
    assert fewer.joint_names == list(JOINT_NAMES)
    assert {"smplh": "SMPL-H", "smpl": "SMPL "}[fewer.name] in fewer.licence_note
