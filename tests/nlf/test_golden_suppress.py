"""Plausibility and pose NMS: parity (golden README 8) and properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.localizers.nlf.suppress import fits_box, is_certain, plausible
from backend.people.alike import pose_scores, pose_similarity, suppress_alike

from .golden_weights import golden
from .recipe import tensor


def people():
    poses = tensor("merge", "plaus_poses3d") / 1000
    rest = (tensor("merge", f"plaus_{name}") for name in ("poses2d", "uncert", "boxes"))
    return poses, *rest


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parity(dtype):
    theirs = golden("merge")
    poses, points2d, uncertainty, boxes = (x.to(dtype) for x in people())
    assert (is_certain(uncertainty).numpy() == theirs["plaus_uncert_low"]).all()
    assert (fits_box(points2d, boxes).numpy() == theirs["plaus_box_consistent"]).all()
    np.testing.assert_allclose(pose_similarity(poses), theirs["plaus_similarity"], rtol=0, atol=1e-4)
    scores = pose_scores(boxes[:, 4], uncertainty)
    np.testing.assert_allclose(scores, theirs["plaus_scores"], rtol=1e-5)
    assert plausible(poses, points2d, uncertainty, boxes).tolist() == theirs["plaus_keep"].tolist()
    assert suppress_alike(poses, scores).tolist() == theirs["plaus_keep_all_valid"].tolist()


def test_similarity_is_one_with_itself_and_looks_the_same_both_ways():
    poses = people()[0]
    similarity = pose_similarity(poses)
    np.testing.assert_allclose(similarity, similarity.T, atol=1e-12)
    np.testing.assert_allclose(similarity.diagonal(), 1)
    # One person at two depths is one person.
    assert pose_similarity(torch.stack([poses[0], 1.7 * poses[0]])).min() > 1 - 1e-9
    assert pose_similarity(torch.stack([poses[0], poses[0] + torch.tensor([1.0, 0, 0])]))[0, 1] == 0


def test_a_third_of_sure_points_is_not_enough():
    uncertainty = torch.full((3, 6), 0.26)
    uncertainty[1, :2] = uncertainty[2, :3] = 0.24
    assert is_certain(uncertainty).tolist() == [False, False, True]


def test_a_pose_must_cover_a_quarter_of_its_box():
    box = torch.tensor([[10.0, 20, 100, 200, 0.9]])
    inside = torch.tensor([[10.0, 20], [110, 220]])
    for shift, fits in (((0, 0), True), ((74, 0), True), ((76, 0), False), ((500, 500), False)):
        assert fits_box((inside + torch.tensor(shift))[None], box).tolist() == [fits]


def test_the_better_of_two_alike_stays():
    poses = people()[0][[0, 0, 0]]
    assert suppress_alike(poses, torch.tensor([1.0, 3.0, 2.0])).tolist() == [1]
    valid = torch.tensor([True, False, True])
    assert suppress_alike(poses, torch.tensor([1.0, 3.0, 2.0]), valid).tolist() == [2]


@pytest.mark.parametrize("points", [1, 3, 24])
def test_nobody_and_few_points(points):
    none = plausible(
        torch.zeros(0, points, 3), torch.zeros(0, points, 2), torch.zeros(0, points), torch.zeros(0, 5)
    )
    assert none.tolist() == []
    one = torch.ones(1, points, 3)
    assert suppress_alike(one, torch.ones(1)).tolist() == [0]
    assert suppress_alike(one.expand(2, points, 3), torch.ones(2)).tolist() == [0]


def test_a_pose_that_is_no_number_is_left_out():
    poses, points2d, uncertainty, boxes = (x.clone() for x in people())
    poses[3], points2d[3], uncertainty[3] = torch.nan, torch.nan, torch.nan
    assert 3 not in plausible(poses, points2d, uncertainty, boxes).tolist()
