"""The model and its localizer: files, mirror images, frames of reference, what starts as it should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from backend.body.landmarks import body_landmarks
from backend.camera.pinhole import Camera, Roi
from backend.camera.turned import crop_to_image, extract
from backend.errors import JobError
from backend.localizers.field.file import load_field, new_model, save_field
from backend.localizers.field.localizer import FieldLocalizer, bounded, limb_errors, pull
from backend.localizers.field.model import FieldModel, guess, overlay
from backend.localizers.landmarks.region import landmark_axis, landmark_region
from backend.records import Subject
from train.conftest import SMALL


@pytest.fixture(scope="module")
def model() -> FieldModel:
    torch.manual_seed(3)
    made = new_model(SMALL).eval()
    with torch.no_grad():
        made.field.last.weight.normal_(std=0.02)
    return made


@pytest.fixture(scope="module")
def crops() -> torch.Tensor:
    x = torch.rand(3, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.slow
def test_files_keep_the_model(model, crops, body, tmp_path):
    points = torch.from_numpy(body_landmarks(body)[0].positions)
    with torch.inference_mode():
        before = model(crops, points)
        for half, most in ((False, 1e-4), (True, 2e-2)):
            save_field(model, tmp_path / "a.safetensors", {"made": "here"}, half)
            after = load_field(tmp_path / "a.safetensors")(crops, points)
            assert float((after.coords3d_rel - before.coords3d_rel).abs().max()) < most
    assert (tmp_path / "a.safetensors").stat().st_size < 60e6


@pytest.mark.slow
def test_a_trunk_as_shipped_is_not_written_again(crops, body, tmp_path):
    torch.manual_seed(5)
    made = new_model(replace(SMALL, branch="full")).eval()
    with torch.no_grad():
        made.field.last.weight.normal_(std=0.02)
        next(made.branch.parameters()).mul_(1.01)
    points = torch.from_numpy(body_landmarks(body)[0].positions)
    save_field(made, tmp_path / "a.safetensors", half=False)
    kept = load_file(tmp_path / "a.safetensors")
    assert not any(name.startswith("trunk.") for name in kept)
    assert any(name.startswith("branch.") for name in kept)
    with torch.inference_mode():
        before, after = made(crops, points), load_field(tmp_path / "a.safetensors")(crops, points)
    assert float((after.coords3d_rel - before.coords3d_rel).abs().max()) < 1e-4
    with torch.no_grad():
        next(made.trunk.parameters()).mul_(1.01)
    save_field(made, tmp_path / "b.safetensors", half=False)
    assert any(name.startswith("trunk.") for name in load_file(tmp_path / "b.safetensors"))
    with torch.inference_mode():
        before, after = made(crops, points), load_field(tmp_path / "b.safetensors")(crops, points)
    assert float((after.coords3d_rel - before.coords3d_rel).abs().max()) < 1e-4


def test_other_files_are_refused(tmp_path):
    file = tmp_path / "a.safetensors"
    with pytest.raises(JobError, match="missing"):
        load_field(file)
    file.write_bytes(b"x" * 100)
    with pytest.raises(JobError, match="damaged"):
        load_field(file)


@pytest.mark.slow
def test_mirrored_crops_are_asked_for_mirrored_points(model, crops, body):
    points = torch.from_numpy(body_landmarks(body)[0].positions)
    which = torch.tensor([True, False, True])
    with torch.inference_mode():
        mixed = model(crops, points, which)
        plain = model(crops, points)
        other = model(crops, points * torch.tensor([-1.0, 1, 1]))
    assert torch.allclose(mixed.coords2d[~which], plain.coords2d[~which], atol=1e-2)
    assert torch.allclose(mixed.coords2d[which], other.coords2d[which], atol=1e-2)
    assert not torch.allclose(mixed.coords3d_rel[which], plain.coords3d_rel[which], atol=1e-3)


@pytest.mark.slow
def test_without_training_the_guess_is_the_answer(crops, body):
    untrained = new_model(SMALL).eval()
    points = torch.from_numpy(body_landmarks(body)[0].positions)
    with torch.inference_mode():
        features = untrained.features(untrained.look(crops))
        found = untrained.heads(features, untrained.prepare(points))
        expected = guess(untrained.prepare(points).places, features.code)
    # The depth follows the flat maps' middle, sideways the middle of the cells.
    assert torch.allclose(found.coords3d_rel, expected, atol=1e-4)


def test_many_points_are_the_same_as_few(model, crops):
    points = torch.rand(700, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    with torch.inference_mode():
        features = model.features(model.look(crops))
        every = model.heads(features, model.prepare(points))
        some = model.heads(features, model.prepare(points[600:]))
    assert every.coords2d.shape == (3, 700, 2)
    assert torch.allclose(every.coords3d_rel[:, 600:], some.coords3d_rel, atol=1e-4)
    with torch.inference_mode():
        assert model.heads(features, model.prepare(points[:0])).coords2d.shape == (3, 0, 2)


def test_overlay_lays_one_over_the_other():
    g = torch.Generator().manual_seed(0)
    places = torch.randn(4, 33, 2, generator=g)
    scale, shift = torch.tensor([80.0, 100, 120, 60]), torch.randn(4, 2, generator=g) * 50
    pixels = places * scale[:, None, None] + shift[:, None]
    frame = overlay(places, pixels, torch.rand(4, 33, generator=g))
    assert torch.allclose(frame[:, 0], scale, rtol=1e-4)
    assert torch.allclose(frame[:, 1:], shift, atol=1e-2)


def test_region_turns_with_the_person():
    rng = np.random.default_rng(0)
    xy = rng.uniform(100, 200, (33, 2))
    xy[[11, 12]] = [[140, 120], [160, 120]]
    xy[[23, 24]] = [[140, 180], [160, 180]]
    upright = landmark_region(xy)
    assert upright.angle == pytest.approx(0)
    assert np.abs(xy - upright.center).max() <= upright.size / 2
    for angle in (0.7, 3.0, -1.6):
        c, s = np.cos(angle), np.sin(angle)
        turned = landmark_region(xy @ np.array([[c, s], [-s, c]]) + 30)
        assert np.cos(turned.angle - angle) == pytest.approx(1)
        assert turned.size == pytest.approx(upright.size)
    hips, top = landmark_axis(xy)
    assert hips == pytest.approx([150, 180])
    assert top[0] == pytest.approx(150)
    assert top[1] < 180
    assert landmark_region(np.full((33, 2), 5.0)).size > 0


@pytest.mark.slow
def test_localizer_answers_in_the_pictures_frame(model, body, tmp_path):
    save_field(model, tmp_path / "a.safetensors")
    localizer = FieldLocalizer(body, file=tmp_path / "a.safetensors")
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (480, 640, 3), np.uint8)
    camera = Camera.from_fov(640, 480)
    box = np.array([200.0, 100, 180, 300])
    expected = rng.uniform(box[:2], box[:2] + box[2:], (33, 2))
    subjects = [Subject(image, camera, box, Roi.around(box), expected), Subject(image, camera, box, None)] * 5
    out = localizer.localize(subjects)
    P = len(localizer.native)
    assert out.points3d.shape == (10, P, 3)
    assert out.anchors2d is not None
    assert out.anchors2d.shape == (10, 2, 2)
    assert np.isfinite(out.points3d).all()
    assert (out.uncertainty > 0).all()
    # What the model says of the crop, carried into the picture by hand.
    crop = extract(image, camera, landmark_region(expected), 256)
    with torch.inference_mode():
        x = torch.from_numpy(crop.image)[None].permute(0, 3, 1, 2).float() / 255
        model, points = localizer.model, torch.from_numpy(localizer.native.positions)
        features = model.features(model.look(x))
        off = limb_errors(features, model.heads(features, model.prepare(model.marks)))
        found = model.heads(features, model.prepare(points))
        found = replace(found, coords2d=found.coords2d + pull(points, model.marks, *off))
        placed = localizer.model.absolute(found, torch.from_numpy(crop.K)[None].float())
    flat = crop_to_image(crop, camera, found.coords2d[0].double().numpy())
    assert np.abs(flat - out.points2d[0]).max() < 0.1
    assert np.abs(placed.points3d[0].double().numpy() @ crop.R - out.points3d[0]).max() < 1e-2
    # The same person in the same region, alone or in company.
    alone = localizer.localize(subjects[:1])
    assert np.allclose(alone.points3d, out.points3d[:1], rtol=1e-3, atol=1e-2)
    other = localizer.localize(subjects[:1], localizer.prepare(localizer.native.take(np.arange(5))))
    assert np.abs(other.points2d - out.points2d[:1, :5]).max() < 0.05
    assert localizer.localize([]).points3d.shape == (0, P, 3)


@pytest.mark.slow
def test_uncertainty_is_calibrated_by_the_file(model, crops):
    other = new_model(replace(SMALL))
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        other.sigma.copy_(torch.tensor([2.0, 0.01]))
    u = torch.tensor([0.1, 0.2])
    assert torch.allclose(other.calibrated(u), torch.tensor([0.21, 0.41]))


def test_seen_limbs_follow_the_trunks_landmarks(model, crops):
    marks = model.marks
    with torch.inference_mode():
        features = model.features(model.look(crops))
        landmarks = features.landmarks.clone()
        landmarks[:, :, 3] = 0.9
        landmarks[:, 25, 3] = 0.4
        features = replace(features, landmarks=landmarks)
        found = model.heads(features, model.prepare(marks))
        off, visible = limb_errors(features, found)
        at_marks = pull(marks, marks, off, visible)
        chest = torch.tensor([[0.0, 0.0, 0.1]])
        assert float(pull(chest, marks, off, visible).abs().max()) < 0.05 * float(off.abs().max())
    assert float(visible[:, 25].max()) == 0
    assert float(visible[:, [0, 11, 12, 23, 24]].max()) == 0
    # Alone with its landmark an ankle goes most of the way, and nobody goes the other way.
    share = (at_marks[:, 27] * off[:, 27]).sum(-1) / off[:, 27].square().sum(-1)
    assert float(share.min()) > 0.4
    assert float(share.max()) < 1.3
    truth = (features.landmarks[:, 27, :2] + 1) * 128
    assert torch.allclose(found.coords2d[:, 27] + off[:, 27], truth, atol=1e-3)


def test_regions_stay_near_what_was_looked_at():
    before = Roi(np.array([100.0, 200.0]), 100.0, 0.3)
    fine = Roi(np.array([120.0, 190.0]), 140.0, 1.0)
    kept = bounded(fine, before)
    assert kept.center == pytest.approx(fine.center)
    assert (kept.size, kept.angle) == (140.0, 1.0)
    astray = bounded(Roi(np.array([1e9, 200.0]), 1e10, 0.5), before)
    assert astray.center == pytest.approx([200.0, 200.0])
    assert astray.size == 250.0
    nothing = bounded(Roi(np.array([np.nan, 0.0]), np.inf, 0.0), before)
    assert nothing is before


@pytest.mark.slow
def test_a_close_up_is_no_end(model, body, tmp_path):
    """Somebody so near that most of them lies behind the picture's plane."""
    save_field(model, tmp_path / "a.safetensors")
    localizer = FieldLocalizer(body, file=tmp_path / "a.safetensors")
    image = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    camera = Camera.from_fov(300, 200, 100)
    for box in ([-900.0, -100, 2000, 1800], [260.0, 150, 900, 1500]):
        out = localizer.localize([Subject(image, camera, np.array(box))])
        assert np.isfinite(out.points2d).all()
        assert np.isfinite(out.points3d).all()
