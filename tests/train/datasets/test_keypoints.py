"""Datasets of joints and surface points: the right canonical point at the right pixel and metre, and nothing else."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from backend.body.landmarks import LANDMARK_NAMES, body_landmarks
from backend.body.skeleton import JOINT
from backend.train.datasets import coco, h36m, mpi_inf_3dhp, mpii
from backend.train.datasets.anatomy import place, places
from backend.train.datasets.densepose import in_triangles
from backend.train.datasets.open import open_source
from backend.train.datasets.source import Source
from backend.train.streams.augment import Looks
from backend.train.streams.framing import Shake

from .makers import check_example, picture, project, write_picture

pytestmark = pytest.mark.slow

K = np.array([[600.0, 0, 322], [0, 600, 238], [0, 0, 1]])
SIZE = (640, 480)
PLAIN = Looks(0, 0, 0, 0, 0, 0, 0)
AWAY = np.array([0.05, -0.2, 3.2])


def source(kind: str, folder: Path, **more) -> Source:
    return Source(kind, str(folder), 1.0, shake=Shake(mirror=0.5, roll=5), looks=PLAIN, **more)


def facing(body, names) -> np.ndarray:
    """(P, 3) camera space: the named places of the mean body, upright, its face towards the camera."""
    return places(body, names).astype(float) * [1, -1, -1] + AWAY


def opened(kind: str, folder: Path, learnt, pool, **more):
    return open_source(source(kind, folder, **more), learnt, pool, points=64, inside=0.3, seed=2)


def check(stream, known: np.ndarray, absolute: bool, batches: int = 4) -> None:
    """Dots at the known rows, in both kinds of crops; the others are not supervised."""
    seen, sides = 0, set()
    for number in range(batches):
        batch, again = stream.batch(number, 3), stream.batch(number, 3)
        assert (batch.images == again.images).all() and (batch.points2d == again.points2d).all()
        assert not batch.valid2d[:, ~known].any()
        assert bool(batch.absolute.all()) == absolute and bool(batch.valid3d.any()) == absolute
        for i in range(len(batch)):
            seen += check_example(batch, i, np.flatnonzero(known))
            sides.add(bool(batch.mirrored[i]))
    assert sides == {True, False} and seen > 5 * len(known)


def write_coco(folder: Path, body, labels: np.ndarray) -> np.ndarray:
    """One person who counts; a crowd, a small one, one with two joints, and two who cover each other do not."""
    xy = project(K, facing(body, coco.JOINTS))
    write_picture(folder / "train2017" / "000000000001.jpg", picture(SIZE, xy))
    box = [float(v) for v in (*(xy.min(0) - 15), *(np.ptp(xy, 0) + 30))]
    marks = np.concatenate([xy, labels[:, None]], 1)
    person = lambda number, image, **more: {  # noqa: E731
        "id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "area": 1.0, "bbox": box,
        "num_keypoints": int((labels > 0).sum()), "keypoints": marks.ravel().tolist(), **more,
    }  # fmt: skip
    few = marks * (np.arange(17) < 2)[:, None]
    people = [
        person(1, 1),
        person(2, 4, iscrowd=1),
        person(3, 2, bbox=[5, 5, 20, 40]),
        person(4, 2, keypoints=few.ravel().tolist()),
        person(5, 3),
        person(6, 3, bbox=[box[0] + 5, *box[1:]]),
    ]
    said = {"images": [{"id": i, "file_name": f"{i:012d}.jpg"} for i in (1, 2, 3, 4)], "annotations": people}
    (folder / "annotations").mkdir()
    (folder / "annotations" / "person_keypoints_train2017.json").write_text(json.dumps(said))
    return xy


def test_coco(tmp_path, body, pool):
    labels = np.full(17, 2)
    labels[[3, 9]], labels[[15, 16]] = 1, 0
    write_coco(tmp_path, body, labels)
    stream = opened("coco", tmp_path, body, pool)
    assert len(stream.records) == 1
    check(stream, labels == 2, False)
    hidden = opened("coco", tmp_path, body, pool, hidden=True)
    assert (hidden.batch(0, 1).valid2d[0].numpy() == (labels > 0)).all()
    batch = stream.batch(0, 1)
    own = body_landmarks(body)[0].positions
    for row, name in enumerate(coco.JOINTS):
        assert np.allclose(batch.points[row].numpy(), own[LANDMARK_NAMES.index(name)])


def structs(*rows: dict) -> np.ndarray:
    """A MATLAB array of structures."""
    out = np.zeros((1, len(rows)), [(name, object) for name in rows[0]])
    for i, row in enumerate(rows):
        for name, value in row.items():
            out[name][0, i] = value
    return out


def write_mpii(folder: Path, body, visible: np.ndarray) -> np.ndarray:
    """One person who counts; one without points, one of a test picture and a small one do not."""
    xy = project(K, facing(body, mpii.JOINTS))
    write_picture(folder / "images" / "015601864.jpg", picture(SIZE, xy))
    # MATLAB counts from 1; joint 5 is not there, heads have no mark of their visibility.
    points = lambda p: structs(*[  # noqa: E731
        {"x": float(p[j, 0] + 1), "y": float(p[j, 1] + 1), "id": j,
         "is_visible": np.zeros((0, 0)) if j in (8, 9) else (str(int(visible[j])) if j % 2 else int(visible[j]))}
        for j in range(16) if j != 5
    ])  # fmt: skip
    rect = lambda p: {"scale": 2.1, "objpos": {"x": 1.0, "y": 1.0}, "annopoints": {"point": points(p)}}  # noqa: E731
    nobody = {"scale": 1.0, "objpos": {"x": 1.0, "y": 1.0}, "annopoints": np.zeros((0, 0))}
    entries = structs(
        {"image": {"name": "015601864.jpg"}, "annorect": structs(rect(xy), nobody)},
        {"image": {"name": "test.jpg"}, "annorect": structs(rect(xy))},
        {"image": {"name": "small.jpg"}, "annorect": structs(rect(xy * 0.1))},
        {"image": {"name": "empty.jpg"}, "annorect": np.zeros((0, 0))},
    )
    savemat(
        folder / "mpii_human_pose_v1_u12_1.mat",
        {"RELEASE": {"annolist": entries, "img_train": np.array([[1, 0, 1, 1]])}},
    )
    return xy


def test_mpii(tmp_path, body, pool):
    visible = np.ones(16, int)
    visible[[0, 11]] = 0
    write_mpii(tmp_path, body, visible)
    stream = opened("mpii", tmp_path, body, pool)
    assert len(stream.records) == 1
    known = visible.astype(bool)
    known[5] = False
    check(stream, known, False)
    hidden = opened("mpii", tmp_path, body, pool, hidden=True)
    assert (hidden.batch(0, 1).valid2d[0].numpy() == (np.arange(16) != 5)).all()


def test_mpii_as_json(tmp_path, body, pool):
    xy = project(K, facing(body, mpii.JOINTS))
    write_picture(tmp_path / "images" / "a.jpg", picture(SIZE, xy))
    entry = {"image": "a.jpg", "center": [300.0, 200.0], "scale": 2.0, "joints_vis": [1] * 15 + [0],
             "joints": [*(xy[:15] + 1).tolist(), [0.0, 0.0]]}  # fmt: skip
    (tmp_path / "annot").mkdir()
    (tmp_path / "annot" / "train.json").write_text(json.dumps([entry]))
    check(opened("mpii", tmp_path, body, pool), np.arange(16) != 15, False)


LENS = {"k": [-0.6, 0.3, -0.0031], "p": [-0.00098, -0.00142]}


def write_h36m(folder: Path, body) -> np.ndarray:
    """A picture taken through a lens that bends by tens of pixels at the edge."""
    x = np.add(facing(body, h36m.JOINTS), [0.6, 0.2, -0.4])
    bent = cv2.projectPoints(
        x, np.zeros(3), np.zeros(3), K, np.array([*LENS["k"][:2], *LENS["p"], LENS["k"][2]])
    )[0][:, 0]
    assert np.abs(bent - project(K, x)).max() > 15
    name = "S1/S1_Directions_1.54138969/S1_Directions_1.54138969_000001.jpg"
    write_picture(folder / "images" / name, picture(SIZE, bent))
    notes = folder / "annotation_body3d"
    (notes / "fps10").mkdir(parents=True)
    column = lambda v: np.array(v, float)[:, None]  # noqa: E731
    camera = {"R": np.eye(3), "T": np.zeros((3, 1)), "f": column([600, 600]), "c": column([322, 238])}
    camera |= {
        "w": 640,
        "h": 480,
        "k": column(LENS["k"]),
        "p": column(LENS["p"]),
        "name": "camera1",
        "id": "54138969",
    }
    (notes / "cameras.pkl").write_bytes(pickle.dumps({("S1", "54138969"): camera}))
    ones = np.ones((17, 1))
    part, S = (np.tile(np.concatenate([p, ones], 1), (2, 1, 1)) for p in (bent, x))
    rows = {"imgname": np.array([name, name]), "center": np.full((2, 2), 300.0), "scale": [2.0, 0.2]}
    np.savez(notes / "fps10" / "h36m_train.npz", **rows, part=part, S=S)
    return x


def test_human36m(tmp_path, body, pool):
    x = write_h36m(tmp_path, body)
    stream = opened("human36m", tmp_path, body, pool)
    assert len(stream.records) == 1, "the other one is too small"
    record = stream.records.record(0)
    assert np.allclose(record.points3d, x) and np.allclose(record.points2d, project(K, x))
    check(stream, np.ones(17, bool), True)
    batch = stream.batch(0, 2)
    assert batch.root == 0 and np.allclose(batch.points[0].numpy(), place(body, "middle_of_hips"))
    far = np.linalg.norm(batch.points3d.numpy().astype(float), axis=-1)
    assert np.abs(far - np.linalg.norm(x, axis=1)).max() < 1e-3


def write_3dhp(folder: Path, body, movie: bool) -> np.ndarray:
    """Camera 1 of 14 has pictures: two frames, the person further to the right in the second one."""
    here = folder / "S1" / "Seq1"
    all_names = np.array(["nose"] * 28, object)
    for row, name in zip(mpi_inf_3dhp.ROWS, mpi_inf_3dhp.JOINTS, strict=True):
        all_names[row] = name
    x = np.stack([np.add(facing(body, tuple(all_names)), [d, 0, 0]) for d in (-0.3, 0.3)])
    xy = np.stack([project(K, p) for p in x])
    used = np.array(mpi_inf_3dhp.ROWS)
    images = [picture(SIZE, p[used]) for p in xy]
    if movie:
        (here / "imageSequence").mkdir(parents=True)
        out = cv2.VideoWriter(
            str(here / "imageSequence" / "video_1.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, SIZE
        )
        assert out.isOpened()
        for image in images:
            out.write(np.ascontiguousarray(image[..., ::-1]))
        out.release()
    else:
        for number, image in enumerate(images, 1):
            write_picture(here / "imageFrames" / "video_1" / f"frame_{number:06d}.jpg", image)
    cells2, cells3 = np.empty((14, 1), object), np.empty((14, 1), object)
    for k in range(14):
        cells2[k, 0], cells3[k, 0] = xy.reshape(2, 56), 1000 * x.reshape(2, 84)
    savemat(here / "annot.mat", {"annot2": cells2, "annot3": cells3, "univ_annot3": cells3})
    lines = ["Skeletool Camera Calibration File V1.0"]
    for k in range(14):
        f = 600 if k == 1 else 1500
        lines += [f"name          {k}", "  sensor      10 10", "  size        2048 2048", "  animated    0",
                  f"  intrinsic   {f} 0 322 0 0 {f} 238 0 0 0 1 0 0 0 0 1 ",
                  "  extrinsic   1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1 ", "  radial      0"]  # fmt: skip
    (here / "camera.calibration").write_text("\n".join(lines) + "\n")
    return x[:, used]


@pytest.mark.parametrize("movie", [False, True])
def test_mpi_inf_3dhp(tmp_path, body, pool, movie):
    x = write_3dhp(tmp_path, body, movie)
    stream = opened("mpi_inf_3dhp", tmp_path, body, pool, every=1)
    assert len(stream.records) == 2
    for frame in range(2):
        record = stream.records.record(frame)
        assert np.allclose(record.points3d, x[frame], atol=1e-5) and np.allclose(record.K, K)
    check(stream, np.ones(len(mpi_inf_3dhp.ROWS), bool), True)
    assert np.allclose(stream.batch(0, 1).points[9].numpy(), body.joints_template[JOINT["right_shoulder"]])
    assert len(opened("mpi_inf_3dhp", tmp_path, body, pool).records) == 1, "every tenth frame"
    assert len(opened("mpi_inf_3dhp", tmp_path, body, pool, split="S1+S2", every=1).records) == 2


def write_densepose(folder: Path, body, seed: int = 0):
    """Two charts of 40 triangles each, which lie in rows in the chart; 40 points on each of two people."""
    rng = np.random.default_rng(seed)
    tri = body.v_template[body.faces].astype(float)
    front = np.flatnonzero(np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])[:, 2] > 0)
    middle = project(K, tri.mean(1) * [1, -1, -1] + AWAY)
    picked: list[int] = []
    for face in rng.permutation(front):
        # Far enough from each other for every dot to be seen.
        if len(picked) < 80 and all(np.hypot(*(middle[face] - middle[other])) > 12 for other in picked):
            picked.append(face)
    assert len(picked) == 80
    chosen, slot = np.array(picked), np.arange(80) % 40
    corner = np.stack([(slot % 8) / 8, (slot // 8) / 8], 1)
    uv = corner[:, None] + np.array([[0.01, 0.01], [0.1, 0.02], [0.03, 0.1]])
    uv_file = folder / "UV_data" / "UV_Processed.mat"
    uv_file.parent.mkdir(parents=True)
    savemat(
        uv_file,
        {
            "All_Faces": np.arange(240).reshape(80, 3) + 1, "All_FaceIndices": np.repeat([1, 7], 40)[:, None],
            "All_U_norm": uv[..., 0].reshape(-1, 1), "All_V_norm": uv[..., 1].reshape(-1, 1),
            "All_vertices": body.faces[chosen].reshape(1, -1) + 1,
        },
    )  # fmt: skip
    people, truth = [], []
    for number in range(2):
        triangle = rng.permutation(80)[:40]
        share = rng.dirichlet([2, 2, 2], 40)
        places3 = (body.v_template[body.faces[chosen[triangle]]] * share[..., None]).sum(1)
        xy = project(K, places3 * [1, -1, -1] + AWAY)
        name = f"COCO_train2014_{number:012d}.jpg"
        write_picture(folder / "train2014" / name, picture(SIZE, xy, radius=5))
        box = np.array([*np.floor(xy.min(0) - 10), *np.ceil(np.ptp(xy, 0) + 20)])
        flat = (uv[triangle] * share[..., None]).sum(1)
        across = (xy - box[:2]) / box[2:] * 255
        marked = {"dp_x": across[:, 0], "dp_y": across[:, 1], "dp_I": np.where(triangle < 40, 1.0, 7.0),
                  "dp_U": flat[:, 0], "dp_V": flat[:, 1], "bbox": np.add(box, [0.2, -0.3, 0.1, 0.2])}  # fmt: skip
        person = {
            "id": number,
            "image_id": number,
            "category_id": 1,
            "iscrowd": 0,
            "keypoints": [0] * 51,
            "dp_masks": [],
        }
        people.append(person | {n: v.tolist() for n, v in marked.items()})
        truth.append(places3)
    images = [{"id": i, "file_name": f"COCO_train2014_{i:012d}.jpg"} for i in range(3)]
    few = (
        people[0]
        | {"id": 9, "image_id": 2}
        | {n: people[0][n][:5] for n in ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V")}
    )
    said = {"images": images, "annotations": [*people, few]}
    (folder / "densepose_coco_2014_train.json").write_text(json.dumps(said))
    return truth


@pytest.mark.usefixtures("quick_map")
def test_densepose(tmp_path, body, pool, bodies):
    truth = write_densepose(tmp_path, body)
    stream = opened("densepose", tmp_path, body, pool, body=str(bodies))
    assert len(stream.records) == 2
    every = np.concatenate(truth)
    seen, sides = 0, set()
    for number in range(4):
        batch, again = stream.batch(number, 4), stream.batch(number, 4)
        assert (batch.points == again.points).all() and (batch.images == again.images).all()
        assert len(batch.points) == 64 and batch.root == -1 and not batch.absolute.any()
        assert (batch.valid2d.sum(1) == 16).all() and (batch.valid2d.sum(0) == 1).all()
        for i in range(4):
            rows = np.flatnonzero(batch.valid2d[i].numpy())
            apart = np.linalg.norm(batch.points[rows].numpy()[:, None] - every[None], axis=-1)
            assert apart.min(1).max() < 3e-3, "a point of the skin that was marked"
            marks = apart.argmin(1)
            assert len(set(marks // 40)) == 1
            seen += check_example(batch, i, rows, marks % 40)
            sides.add(bool(batch.mirrored[i]))
    assert sides == {True, False} and seen > 150


def test_places_in_charts():
    tri = np.array([[[0.0, 0], [1, 0], [0, 1]], [[1.0, 1], [2, 1], [1, 2]], [[3.0, 3], [3, 3], [3, 3]]])
    share = np.array([[0.2, 0.3, 0.5], [0.6, 0.1, 0.3]])
    p = (tri[:2] * share[..., None]).sum(1)
    triangle, found = in_triangles(np.concatenate([p, [[2.2, 0.9]]]), tri)
    assert triangle.tolist() == [0, 1, 1] and np.allclose(found[:2], share)
    assert found[2].tolist() == [0, 1, 0], "beside all of them the nearest corner counts"


def test_anatomy(body):
    for name in {*coco.JOINTS, *mpii.JOINTS, *h36m.JOINTS, *mpi_inf_3dhp.JOINTS}:
        x = place(body, name)
        side = 1 if "left" in name else -1 if "right" in name else 0
        assert np.isfinite(x).all() and (np.sign(x[0]) == side if side else abs(x[0]) < 0.01), name
    up = [
        place(body, n)[1]
        for n in ("middle_of_hips", "middle_of_trunk", "joint:neck", "middle_of_head", "top_of_head")
    ]
    assert up == sorted(up)
    assert np.isclose(place(body, "top_of_head")[1], body.v_template[:, 1].max(), atol=0.01)
    with pytest.raises(KeyError):
        place(body, "heart")


def test_rows_are_the_published_joints():
    """The orders as the data sets publish them, written down apart from the readers."""
    own = {
        "pelvis": "middle_of_hips", "spine": "joint:spine1", "head_top": "top_of_head",
        "left_hand": "joint:left_middle1", "right_hand": "joint:right_middle1",
        "left_toe": "left_foot_index", "right_toe": "right_foot_index",
    }  # fmt: skip
    arm, leg = (
        "{0}_clavicle {0}_shoulder {0}_elbow {0}_wrist {0}_hand",
        "{0}_hip {0}_knee {0}_ankle {0}_foot {0}_toe",
    )
    names = ["spine3", "spine4", "spine2", "spine", "pelvis", "neck", "head", "head_top"]
    names += " ".join(part.format(side) for part in (arm, leg) for side in ("left", "right")).split()
    for row, ours in zip(mpi_inf_3dhp.ROWS, mpi_inf_3dhp.JOINTS, strict=True):
        assert ours == own.get(names[row], f"joint:{names[row]}")
    order = "hip:R knee:R ankle:R hip:L knee:L ankle:L spine thorax nose head "
    order += "shoulder:L elbow:L wrist:L shoulder:R elbow:R wrist:R"
    sides = {"L": "left", "R": "right"}
    for ours, word in zip(h36m.JOINTS[1:], order.split(), strict=True):
        part, _, side = word.partition(":")
        assert not side or ours == f"joint:{sides[side]}_{part}"
    order = "ankle:R knee:R hip:R hip:L knee:L ankle:L pelvis thorax neck top "
    order += "wrist:R elbow:R shoulder:R shoulder:L elbow:L wrist:L"
    for ours, word in zip(mpii.JOINTS, order.split(), strict=True):
        part, _, side = word.partition(":")
        assert not side or ours == f"{sides[side]}_{part}"
    face = ["nose", "left_eye", "right_eye", "left_ear", "right_ear"]
    rest = [
        f"{s}_{p}" for p in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for s in ("left", "right")
    ]
    assert list(coco.JOINTS) == [*face, *rest]
