"""What is missing, damaged or means harm is said in one sentence, whatever the dataset."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from scipy.io import savemat

from backend.errors import JobError

from .test_keypoints import opened, write_3dhp, write_coco, write_h36m


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("coco", "it holds no annotations/person_keypoints_train2017.json"),
        ("densepose", "it holds no densepose_coco_2014_train.json"),
        ("mpii", "it holds no mpii_human_pose_v1_u12_1.mat or annot/train.json"),
        ("human36m", "it holds no annotation_body3d"),
        ("mpi_inf_3dhp", r"it holds no S\*/Seq\*/annot.mat"),
        ("3dpw", r"it holds no sequenceFiles/train/\*.pkl"),
        ("emdb", r"it holds no P\*/\*/\*_data.pkl"),
        ("bedlam", r"it holds no labels \*\*.npz"),
        ("agora", "it holds no Cam"),
        ("amass", r"it holds no \*.npz"),
    ],
)
def test_an_empty_folder_is_said(tmp_path, body, pool, bodies, kind, said):
    with pytest.raises(JobError, match=rf"^[^\n]* cannot be used as [^\n]*: {said}[^\n]*\.$") as caught:
        opened(kind, tmp_path, body, pool, body=str(bodies))
    assert caught.value.code == "bad_data"
    with pytest.raises(JobError, match=rf"^There is no folder .*none, which {kind} should be read from\.$"):
        opened(kind, tmp_path / "none", body, pool, body=str(bodies))


def test_damaged_annotations_are_said(tmp_path, body, pool):
    labels = np.full(17, 2)
    write_coco(tmp_path, body, labels)
    file = tmp_path / "annotations" / "person_keypoints_train2017.json"
    good = json.loads(file.read_text())
    for wrong, why in (
        ("{", "it is missing or no JSON"),
        ("[1, 2]", "it is not in COCO's layout"),
        (json.dumps(good | {"annotations": [{"bbox": "wide"}]}), "it is not in COCO's layout"),
        (
            json.dumps(good | {"annotations": [good["annotations"][0] | {"keypoints": [1, 2]}]}),
            "without 17 keypoints",
        ),
        (json.dumps(good | {"annotations": []}), "nobody who is large enough"),
    ):
        file.write_text(wrong)
        with pytest.raises(JobError, match=rf"^[^\n]*{why}[^\n]*\.$"):
            opened("coco", tmp_path, body, pool)
    strange = good["annotations"][0] | {"bbox": [float("nan"), 0, 100, 200]}
    file.write_text(json.dumps(good | {"annotations": [strange]}))
    with pytest.raises(JobError, match="nobody who is large enough"):
        opened("coco", tmp_path, body, pool)
    good["annotations"][0]["keypoints"][0] = float("nan")
    file.write_text(json.dumps(good))
    batch = opened("coco", tmp_path, body, pool).batch(0, 1)
    assert (
        not batch.valid2d[0, 0] and batch.valid2d[0, 1:].all() and np.isfinite(batch.points2d.numpy()).all()
    )
    good["images"][0]["file_name"] = "../../secret.jpg"
    file.write_text(json.dumps(good))
    with pytest.raises(JobError, match="name a picture outside of it"):
        opened("coco", tmp_path, body, pool).batch(0, 1)
    good["images"][0]["file_name"] = "gone.jpg"
    file.write_text(json.dumps(good))
    with pytest.raises(
        JobError, match=r"^The picture .*gone\.jpg is missing or damaged: check the dataset's folder\.$"
    ):
        opened("coco", tmp_path, body, pool).batch(0, 1)
    (tmp_path / "train2017" / "gone.jpg").write_bytes(b"no picture")
    with pytest.raises(JobError, match="is missing or damaged"):
        opened("coco", tmp_path, body, pool).batch(0, 1)


def test_more_damage_is_said(tmp_path, body, pool):
    write_h36m(tmp_path / "h", body)
    notes = tmp_path / "h" / "annotation_body3d"
    (notes / "cameras.pkl").write_bytes(pickle.dumps({("S1", "1"): {"f": 1}}))
    with pytest.raises(JobError, match=r"not in the layout of MMPose's cameras\.pkl"):
        opened("human36m", tmp_path / "h", body, pool)
    (notes / "cameras.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(JobError, match=r"knows no camera '54138969' of 'S1'"):
        opened("human36m", tmp_path / "h", body, pool).batch(0, 1)
    write_3dhp(tmp_path / "m", body, False)
    here = tmp_path / "m" / "S1" / "Seq1"
    (here / "camera.calibration").write_text("intrinsic 1 2 three")
    with pytest.raises(JobError, match=r"no calibration of cameras"):
        opened("mpi_inf_3dhp", tmp_path / "m", body, pool)
    savemat(here / "annot.mat", {"annot2": np.zeros(3), "annot3": np.zeros(3)})
    with pytest.raises(JobError, match=r"missing or no calibration|28 joints"):
        opened("mpi_inf_3dhp", tmp_path / "m", body, pool)
    (tmp_path / "i" / "images").mkdir(parents=True)
    savemat(tmp_path / "i" / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": {"x": 1}})
    with pytest.raises(JobError, match="RELEASE is not in MPII's layout"):
        opened("mpii", tmp_path / "i", body, pool)
