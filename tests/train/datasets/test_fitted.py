"""Datasets of bodies: a known person comes out of the published files at the right metre and the right pixel."""

from __future__ import annotations

import copyreg
import pickle
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from backend.errors import JobError
from backend.train.datasets.agora import camera_of
from backend.train.datasets.open import open_source
from backend.train.datasets.source import Source
from backend.train.streams.framing import Shake

from .makers import HANDS, check_example, foreign, picture, project, write_picture
from .people import skin_places, stand

pytestmark = pytest.mark.slow

K = np.array([[520.0, 0, 330], [0, 515, 245], [0, 0, 1]])
SIZE = (660, 490)
TURN = Rotation.from_rotvec([0.4, -0.8, 0.3]).as_matrix()
SHIFT = np.array([0.7, -0.4, 1.1])
HALF = Shake(mirror=0.5, upright=0.0, roll=4)
PLAIN = {"colour": 0, "gamma": 0, "grey": 0, "blur": 0, "noise": 0, "jpeg": 0, "occlusion": 0, "erase": 0}


@pytest.fixture(autouse=True)
def _map(quick_map):
    pass


def source(kind: str, folder: Path, bodies: Path, **more) -> Source:
    from backend.train.streams.augment import Looks

    return Source(kind, str(folder), 1.0, body=str(bodies), shake=HALF, looks=Looks(**PLAIN), **more)


def paint(body, pool, known, camera=K, size=SIZE, radius=4):
    """The picture of a person: a dot at every skin point of the pool."""
    rows = np.arange(pool.fixed, pool.fixed + pool.skin)
    return picture(size, project(camera, skin_places(body, pool, rows, known.x)), radius)


def check(body, pool, stream, people, gender) -> None:
    """Every person of `stream`, also as a batch: metres in the picture's camera space, pixels in the crop's."""
    rows = np.arange(len(pool.points))
    skin = np.flatnonzero((rows >= pool.fixed) & (rows < pool.fixed + pool.skin))
    for i, known in enumerate(people):
        person = stream.people.person(i)
        assert person.gender == gender
        record = stream.record(person, rows, pool.points.positions[rows])
        want = skin_places(body, pool, rows[skin], known.x)
        assert np.abs(record.points3d[skin] - want).max() < 2e-3
        # Landmarks, joints and inner points lie within the person.
        low, high = known.x.min(0) - 0.03, known.x.max(0) + 0.03
        assert ((record.points3d > low) & (record.points3d < high)).all()
        assert np.abs(record.points2d - project(person.K, record.points3d)).max() < 1e-6
    seen, sides = 0, set()
    for number in range(4):
        batch = stream.batch(number, 4)
        again = stream.batch(number, 4)
        assert batch.root == 0 and batch.absolute.all() and (batch.images == again.images).all()
        drawn = np.random.default_rng((stream.seed, number))
        rows = pool.draw(drawn, stream.points, stream.inside)
        assert np.allclose(batch.points.numpy(), pool.points.positions[rows])
        skin = np.flatnonzero((rows >= pool.fixed) & (rows < pool.fixed + pool.skin))
        for i in range(4):
            seen += check_example(batch, i, skin, rows[skin] - pool.fixed)
            sides.add(bool(batch.mirrored[i]))
            # The crop's camera only turns: distances from it stay, and of the pelvis it is about 3 metres.
            assert 2.7 < np.linalg.norm(batch.points3d[i, 0].numpy()) < 4.0
    assert sides == {True, False} and seen > 300


def write_3dpw(folder: Path, body, pool, protocol: int = 2):
    """Two people, three frames; the camera of frame 1 is not valid, and person 1 is not found in frame 2."""
    n, people = 3, []
    cameras = np.tile(np.eye(4), (n, 1, 1))
    cameras[:, :3, :3], cameras[:, :3, 3] = TURN, SHIFT
    said = {"sequence": "walk_00", "genders": ["m", "m"], "cam_intrinsics": K, "cam_poses": cameras,
            "img_frame_ids": np.arange(n), "poses": [], "trans": [], "betas": [],
            "campose_valid": [], "poses2d": []}  # fmt: skip
    for i in range(2):
        known = stand(body, "male", True, TURN, SHIFT, seed=i)
        people.append(known)
        said["poses"].append(np.tile(known.pose.reshape(1, 72), (n, 1)))
        said["trans"].append(np.tile(known.trans, (n, 1)))
        said["betas"].append(known.betas)
        said["campose_valid"].append(np.array([True, False, True]))
        found = np.ones((n, 3, 18))
        found[2, 2, 5:] = i == 0
        said["poses2d"].append(found)
    write = folder / "sequenceFiles" / "train" / "walk_00.pkl"
    write.parent.mkdir(parents=True)
    write.write_bytes(pickle.dumps(said, protocol=protocol))
    return said, people


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_3dpw(tmp_path, body, pool, bodies, protocol):
    _, people = write_3dpw(tmp_path, body, pool, protocol)
    # One picture cannot show both at their places without overlap: person 0 has frames 0 and 2, person 1 has frame 0.
    for frame in (0, 2):
        name = f"imageFiles/walk_00/image_{frame:05d}.jpg"
        write_picture(tmp_path / name, paint(body, pool, people[0]))
    stream = open_source(source("3dpw", tmp_path, bodies), body, pool, points=120, inside=0.3, seed=3)
    assert len(stream.people) == 3
    rows = [tuple(r) for r in stream.people._rows]
    assert rows == [(0, 0), (0, 2), (1, 0)]
    stream.people._rows = stream.people._rows[:2]
    check(body, pool, stream, [people[0]] * 2, "male")
    record = stream.people.person(0)
    assert record.photo.path.name == "image_00000.jpg"


def write_emdb(folder: Path, body):
    n = 4
    known = stand(body, "female", True, TURN, SHIFT, seed=4)
    cameras = np.tile(np.eye(4), (n, 1, 1))
    cameras[:, :3, :3], cameras[:, :3, 3] = TURN, SHIFT
    said = {
        "gender": "female", "name": "P1_14_walk", "emdb1": True, "emdb2": False, "n_frames": n,
        "good_frames_mask": np.array([True, False, True, True]),
        "camera": {"intrinsics": K, "extrinsics": cameras, "width": SIZE[0], "height": SIZE[1]},
        "smpl": {"poses_root": np.tile(known.pose[0], (n, 1)),
                 "poses_body": np.tile(known.pose[1:].reshape(1, 69), (n, 1)),
                 "trans": np.tile(known.trans, (n, 1)), "betas": known.betas},
        "kp2d": np.zeros((n, 24, 2)), "bboxes": {"bboxes": np.zeros((n, 4)), "invalid_idxs": np.array([1])},
    }  # fmt: skip
    file = folder / "P1" / "14_walk" / "P1_14_walk_data.pkl"
    file.parent.mkdir(parents=True)
    file.write_bytes(pickle.dumps(said))
    return file, known


def test_emdb(tmp_path, body, pool, bodies):
    file, known = write_emdb(tmp_path, body)
    for frame in range(4):
        write_picture(file.parent / f"images/{frame:05d}.jpg", paint(body, pool, known))
    stream = open_source(source("emdb", tmp_path, bodies), body, pool, points=120, inside=0.3, seed=1)
    assert len(stream.people) == 3
    check(body, pool, stream, [known] * 3, "female")
    assert len(open_source(source("emdb", tmp_path, bodies, split="emdb1", every=2), body, pool, points=120, inside=0.3,
                           seed=1).people) == 2  # fmt: skip
    with pytest.raises(JobError, match="nobody who is seen"):
        open_source(
            source("emdb", tmp_path, bodies, split="emdb2"), body, pool, points=120, inside=0.3, seed=1
        )


@pytest.mark.parametrize("portrait", [False, True])
def test_bedlam(tmp_path, body, pool, bodies, portrait):
    camera, size = K, SIZE
    if portrait:
        camera, size = np.array([[520.0, 0, 245], [0, 515, 330], [0, 0, 1]]), SIZE[::-1]
    known = stand(body, "neutral", False, np.eye(3), np.zeros(3), seed=7)
    # What is split between trans_cam and cam_ext must come together again; the rotation is in the pose already.
    cam_ext = np.eye(4)
    cam_ext[:3, :3], cam_ext[:3, 3] = TURN, [0.2, -0.3, 1.5]
    n, scene = 2, "20221011_1_250_batch01hand_6fps"
    labels = tmp_path / "training_labels" / "all_npz_12_training" / f"{scene}.npz"
    labels.parent.mkdir(parents=True)
    np.savez(
        labels, imgname=["seq_000000/seq_000000_0000.png"] * n, center=np.full((n, 2), 240.0), scale=[1.9, 0.2],
        pose_cam=np.tile(known.pose.reshape(1, 165), (n, 1)), shape=np.tile(np.append(known.betas, 0.0), (n, 1)),
        trans_cam=np.tile(known.trans - cam_ext[:3, 3], (n, 1)), cam_ext=np.tile(cam_ext, (n, 1, 1)),
        cam_int=np.tile(camera, (n, 1, 1)), gender=np.array(["m", "f"], object),
    )  # fmt: skip
    np.savez(labels.with_name("agora-bfh.npz"), imgname=["x"])
    image = paint(body, pool, known, camera, size)
    if portrait:
        image = np.rot90(image)  # it lies on its side, and is turned back clockwise
    write_picture(tmp_path / "training_images" / scene / "png" / "seq_000000/seq_000000_0000.png", image)
    stream = open_source(source("bedlam", tmp_path, bodies), body, pool, points=120, inside=0.3, seed=1)
    assert len(stream.people) == 1, "the other one is too small"
    check(body, pool, stream, [known], "neutral")


AGORA_ROWS = {
    "X": 310.0, "Y": 25.0, "Z": 172.0, "Yaw": 205.0, "occlusion": 12.0, "gender": "female", "kid": False,
    "isValid": True,
}  # fmt: skip


def agora_truth(body, name: str, row: dict, size):
    """Vertices in camera space by AGORA's own projection.py, written down once more in its order of steps."""
    from scipy.spatial.transform import Rotation as Rot

    known = stand(body, "female", False, np.eye(3), np.zeros(3), seed=9, mean_hands=HANDS)
    known.pose[0], known.trans = [0.05, 0.1, -0.02], np.array([0.02, 0.4, 0.05])
    posed = known.pose.copy()
    posed[25:40] += HANDS
    posed[40:] -= HANDS
    j = known.made.vertices(posed, known.betas, known.trans) * [1, -1, -1]
    turn = lambda degrees, axis: Rot.from_euler(axis, degrees, degrees=True).as_matrix()  # noqa: E731
    unreal = lambda p: np.array([p[1], -p[2], p[0]]) / 100  # noqa: E731
    j = j @ turn(row["Yaw"] - 90, "y").T + unreal([row["X"], row["Y"], row["Z"]])
    if "hdri" in name:
        focal, place, yaw, pitch = 50, unreal([0, 0, 170]), 0, 0
    elif "cam01" in name:
        focal, place, yaw, pitch = 18, unreal([400, 225, 265]), -135, 30
    else:
        focal, place, yaw, pitch = 28, np.add(unreal([30, -20, 10]), [0, -1.7, 0]), 15, 0
    known.x = ((j - place) @ turn(-yaw, "y").T) @ turn(pitch, "x").T
    w, h = size
    camera = np.array([[focal / 36 * w, 0, w / 2], [0, focal / 20.25 * h, h / 2], [0, 0, 1]])
    return known, camera


def fit_of(known) -> bytes:
    """A fit of AGORA: SMPL-X's parameters by name."""
    cuts = {"global_orient": (0, 3), "body_pose": (3, 66), "jaw_pose": (66, 69), "leye_pose": (69, 72)}
    cuts |= {"reye_pose": (72, 75), "left_hand_pose": (75, 120), "right_hand_pose": (120, 165)}
    flat = known.pose.reshape(1, 165)
    said = {n: flat[:, a:b] for n, (a, b) in cuts.items()}
    said |= {"betas": known.betas[None], "transl": known.trans[None], "expression": np.zeros((1, 10))}
    return pickle.dumps(said)


def data_frame(columns: dict[str, list]) -> bytes:
    """A DataFrame as pandas 1.0 to 1.2 pickles it."""
    with ExitStack() as stack:
        made = lambda *names: stack.enter_context(foreign(*names))  # noqa: E731
        frame, index = made("pandas.core.frame", "DataFrame"), made("pandas.core.indexes.base", "Index")
        manager = made("pandas.core.internals.managers", "BlockManager")
        module = sys.modules["pandas.core.indexes.base"]
        module._new_Index = lambda cls, d: None
        module._new_Index.__module__, module._new_Index.__qualname__ = (
            "pandas.core.indexes.base",
            "_new_Index",
        )
        index.__reduce__ = lambda self: (module._new_Index, (index, {"data": self.labels, "name": None}))
        values = np.empty((len(columns), len(next(iter(columns.values())))), object)
        for i, column in enumerate(columns.values()):
            for j, entry in enumerate(column):
                values[i, j] = entry
        names, rows = index(), index()
        names.labels, rows.labels = np.array(list(columns), object), np.arange(values.shape[1])
        blocks = [{"values": np.asfortranarray(values), "mgr_locs": slice(0, len(columns), 1)}]
        inside = {"0.14.1": {"axes": [names, rows], "blocks": blocks}}
        state = ([names, rows], [values], [names], inside)
        manager.__reduce_ex__ = lambda self, _: (copyreg.__newobj__, (manager,), state)
        df = frame()
        df._data, df._typ = manager(), "dataframe"
        return pickle.dumps(df, protocol=4)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("ag_trainset_3dpeople_bfh_hdri_50mm_5_10_00001.png", (1280, 720)),
        ("ag_trainset_axyz_bfh_archviz_cam01_5_15_00007.png", (1280, 720)),
        ("ag_trainset_renderpeople_bfh_brushify_00012.png", (3840, 2160)),
    ],
)
def test_agora(tmp_path, body, pool, bodies, name, size):
    row = dict(AGORA_ROWS)
    if "cam01" in name:
        row |= {"X": 150.0, "Y": 10.0, "Z": 20.0}
    known, camera = agora_truth(body, name, row, size)
    assert known.x[:, 2].min() > 1, "in front of the camera"
    others = [{"kid": True}, {"isValid": False}, {"occlusion": 80.0}, {"X": row["X"] * 80}]
    people = [row, *(row | o for o in others)]
    columns = {n: [[p[n] for p in people]] for n in row}
    columns |= {"imgPath": [name], "camX": [30.0], "camY": [-20.0], "camZ": [10.0], "camYaw": [15.0]}
    columns["gt_path_smplx"] = [["smplx_gt/trainset/person_0.obj"] * len(people)]
    (tmp_path / "Cam").mkdir()
    (tmp_path / "Cam" / "train_0.pkl").write_bytes(data_frame(columns))
    fit = tmp_path / "GT_fits" / "smplx_gt" / "trainset" / "person_0.pkl"
    fit.parent.mkdir(parents=True)
    fit.write_bytes(fit_of(known))
    shown = name.replace(".png", "_1280x720.png") if size[0] == 1280 else name
    write_picture(tmp_path / "images" / "train_0" / shown, np.zeros((8, 8, 3), np.uint8))
    stream = open_source(source("agora", tmp_path, bodies), body, pool, points=120, inside=0.3, seed=1)
    # In the far corner of a scene X * 80 may lie behind the camera: small or unseen, it must be gone.
    assert len(stream.people) == 1
    person = stream.people.person(0)
    assert np.allclose(person.K, camera)
    rows = np.arange(pool.fixed, pool.fixed + pool.skin)
    assert np.abs(stream.places(person, rows) - skin_places(body, pool, rows, known.x)).max() < 2e-3


def test_agora_in_pixels(tmp_path, body, pool, bodies):
    name = "ag_trainset_3dpeople_bfh_hdri_50mm_5_10_00001.png"
    row = AGORA_ROWS | {"X": 700.0, "Y": 10.0, "Z": 175.0}
    known, camera = agora_truth(body, name, row, (1280, 720))
    columns = {n: [[v]] for n, v in row.items()}
    columns |= {"imgPath": [name], "camX": [0.0], "camY": [0.0], "camZ": [0.0], "camYaw": [0.0]}
    columns["gt_path_smplx"] = [["fit.obj"]]
    (tmp_path / "Cam").mkdir()
    (tmp_path / "Cam" / "train_0.pkl").write_bytes(data_frame(columns))
    (tmp_path / "GT_fits").mkdir()
    (tmp_path / "GT_fits" / "fit.pkl").write_bytes(fit_of(known))
    image = paint(body, pool, known, camera, (1280, 720), radius=7)
    write_picture(tmp_path / "images" / name.replace(".png", "_1280x720.png"), image)
    stream = open_source(source("agora", tmp_path, bodies), body, pool, points=120, inside=0.3, seed=1)
    batch = stream.batch(0, 6)
    rows = pool.draw(np.random.default_rng((1, 0)), 120, 0.3)
    skin = np.flatnonzero((rows >= pool.fixed) & (rows < pool.fixed + pool.skin))
    assert sum(check_example(batch, i, skin, rows[skin] - pool.fixed) for i in range(6)) > 100


def test_agora_knows_its_cameras():
    at = [100.0, 200.0, 50.0, 30.0]
    K, turn, place = camera_of("some_scene.png", at, (1280, 720))
    assert np.allclose(place, [2.0, -0.5 - 1.7, 1.0])
    assert np.isclose(K[0, 0], 28 / 36 * 1280) and np.isclose(K[1, 1], K[0, 0])
    # The camera looks along its yaw: to the right of Unreal's forward axis.
    ahead = turn.T @ [0, 0, 1]
    assert np.allclose(ahead, [np.sin(np.deg2rad(30)), 0, np.cos(np.deg2rad(30))])
    _, down, _ = camera_of("x_cam02_y.png", at, (1280, 720))
    assert (down.T @ [0, 0, 1])[1] > 0.4, "pitched down by 30 degrees"


def test_people_out_of_their_pictures_end_in_a_sentence(tmp_path, body, pool, bodies):
    said, _ = write_3dpw(tmp_path, body, pool)
    file = tmp_path / "sequenceFiles" / "train" / "walk_00.pkl"
    for trans in said["trans"]:
        trans += TURN.T @ [30, 0, 0]
    file.write_bytes(pickle.dumps(said))
    stream = open_source(source("3dpw", tmp_path, bodies), body, pool, points=120, inside=0.3, seed=3)
    with pytest.raises(
        JobError, match=r"^Of 20 people of 3dpw none is in its picture: check its camera files\.$"
    ):
        stream.batch(0, 2)
