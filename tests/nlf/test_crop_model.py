"""What the golden numbers do not show: point sets, cache, mirroring, precision, training mode."""

from __future__ import annotations

import copy

import pytest
import torch

from backend.localizers.nlf.crop_model import CONSTANTS, CropModel, mirror
from backend.localizers.nlf.head import LocalizerHead
from backend.nets.absolute import reconstruct
from backend.nets.efficientnet import BottomRightConv, efficientnet_features

from .golden_weights import golden_model, tensors


@pytest.fixture(scope="module")
def model() -> CropModel:
    return golden_model("s")


@pytest.fixture(scope="module")
def linked() -> torch.Tensor:
    """Stands for the linking layer's output."""
    return torch.randn(3, 512, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
@torch.inference_mode()
def test_chunks_do_not_matter(model, linked):
    prepared = model.prepare(tensors("net_s")["points"])
    whole = model.heatmap_head.decode(linked, prepared.weights, prepared.biases, None)
    parts = model.heatmap_head.decode(linked, prepared.weights, prepared.biases, 7)
    for name in ("coords2d", "coords3d_rel", "uncertainty"):
        assert torch.allclose(getattr(whole, name), getattr(parts, name), atol=1e-4)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_points(linked, monkeypatch):
    """Never more maps at a time than of one chunk."""
    head = LocalizerHead(256)
    seen = []
    monkeypatch.setattr(
        "backend.localizers.nlf.head.decode_heatmaps",
        lambda x, f=head._units: seen.append(x.shape[1]) or decode(x),
    )
    w, b = torch.zeros(1, 10, 512).expand(3000, -1, -1), torch.zeros(1, 10).expand(3000, -1)
    out = head.decode(linked, w, b)
    assert out.coords2d.shape == (3, 3000, 2)
    assert max(seen) <= 512


def decode(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    shape = x.shape[:2]
    return torch.zeros(*shape, 2), torch.zeros(*shape, 3), torch.zeros(shape)


def test_no_points_and_no_crops(model, linked):
    empty = model.prepare(torch.zeros(0, 3))
    out = model.heatmap_head.decode(linked, empty.weights, empty.biases)
    assert out.coords2d.shape == (3, 0, 2)
    some = model.prepare(torch.zeros(2, 3))
    out = model.heatmap_head.decode(linked[:0], some.weights, some.biases)
    assert out.coords3d_rel.shape == (0, 2, 3)


def test_prepared_points_are_kept_by_content_until_the_field_changes(model):
    model = copy.deepcopy(model)
    points = tensors("net_s")["points"][:5]
    first = model.prepare(points)
    assert model.prepare(points.clone()) is first
    assert model.prepare(points + 0.01) is not first
    assert model.prepare(points, torch.float16) is not first
    with torch.no_grad():
        model.heatmap_head.weight_field.pred_mlp[2].bias.add_(1)
    again = model.prepare(points)
    assert again is not first
    assert not torch.allclose(again.biases, first.biases)
    assert not any(t.requires_grad for t in (first.weights, first.biases))


@pytest.mark.slow
@torch.inference_mode()
def test_mirrored_images_use_the_mirrored_points(model):
    arrays = tensors("net_s")
    points = arrays["points"][:6]
    images, K = arrays["images"][:3].permute(0, 3, 1, 2) / 255, arrays["intrinsics"][:3]
    prepared = model.prepare(points)
    flags = torch.tensor([True, False, True])
    mixed = model.forward_prepared(images, K, prepared, flags)
    plain = model.forward_prepared(images, K, prepared)
    other = model.forward_prepared(images, K, model.prepare(mirror(points)))
    for i, flag in enumerate(flags):
        want = other if flag else plain
        assert torch.allclose(mixed.points2d[i], want.points2d[i], atol=1e-3)
    everything = model.forward_prepared(images, K, prepared, torch.ones(3, dtype=torch.bool))
    assert torch.allclose(everything.points2d, other.points2d, atol=1e-3)
    with pytest.raises(ValueError, match="mirror"):
        model.forward_prepared(images, K, model.prepare(points, mirrored=False), flags)


@pytest.mark.slow
@torch.inference_mode()
def test_uncertainty_factor(model):
    fixed = copy.deepcopy(model)
    fixed.fix_uncert_factor = True
    arrays = tensors("net_s")
    images, K = arrays["images"][:1].permute(0, 3, 1, 2) / 255, arrays["intrinsics"][:1]
    prepared = model.prepare(arrays["points"][:4])
    a, b = model.forward_prepared(images, K, prepared), fixed.forward_prepared(images, K, prepared)
    assert torch.allclose(a.uncertainty, 3 * b.uncertainty)
    assert torch.allclose(a.points3d, b.points3d)


def test_constants_travel():
    model = CropModel("s", lefts=2, centers=1)
    wanted = {k: torch.rand_like(v, dtype=torch.float32).to(v.dtype) for k, v in model.constants().items()}
    model.load_constants(wanted)
    assert set(wanted) == set(CONSTANTS)
    for name, value in model.constants().items():
        assert torch.equal(value, wanted[name])
    with pytest.raises(ValueError, match="mini"):
        model.load_constants(wanted | {"mini": torch.zeros(4)})


@pytest.mark.slow
def test_only_one_convolution_is_shifted():
    for size, place in (("s", "6.0.block.1.0"), ("l", "6.0.block.1.0")):
        shifted = [
            n for n, m in efficientnet_features(size).named_modules() if isinstance(m, BottomRightConv)
        ]
        assert shifted == [place]


def test_blocks_are_dropped_in_training_only():
    block = efficientnet_features("s")[5][3]
    assert block.residual
    assert 0 < block.drop < 0.2
    block.drop = 0.5
    x = torch.randn(64, 160, 2, 2)
    block.train()
    kept = (block(x) != x).flatten(1).any(1)
    assert 8 < kept.sum() < 56
    block.eval()
    assert torch.equal(block(x), block(x))


@pytest.mark.slow
def test_one_step_of_training_reaches_every_tensor():
    """Gradients arrive from the absolute points of points that differ per image: the road of training."""
    model = CropModel("s").train()
    for module in model.modules():
        if hasattr(module, "drop"):
            module.drop = 0.0
    model.load_constants(model.constants() | {"r_sqrt_eigva": torch.linspace(0.1, 0.02, 1024)})
    points = model.canonical_locs()[torch.tensor([[0, 360, 720], [1, 361, 721]])]
    points = points + torch.tensor([[0.2, -0.1, 0.0], [0.0, 0.3, 0.1], [0.1, 0.0, -0.2]])
    out = model.forward_per_image(torch.rand(2, 3, 64, 64), points)
    K = torch.tensor([[300.0, 0, 128], [0, 300, 128], [0, 0, 1]]).expand(2, 3, 3)
    absolute = reconstruct(out.coords2d, out.coords3d_rel, K, 256, mix=0.5, judge_by_3d=False).points3d
    (absolute.square().sum() + out.coords2d.square().sum() + out.uncertainty.sum()).backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not missing
    assert model.canonical_lefts.grad.abs().max() > 0


@pytest.mark.slow
@torch.inference_mode()
def test_bfloat16_features_float32_points(model):
    """16 bits in backbone and linking layer move points a little; the decoding stays in float32."""
    half = copy.deepcopy(model).set_precision(torch.bfloat16)
    arrays = tensors("net_s")
    images, K = arrays["images"][:1].permute(0, 3, 1, 2) / 255, arrays["intrinsics"][:1]
    prepared = half.prepare(arrays["points"])
    assert prepared.weights.dtype == torch.float32
    out = half.forward_prepared(images.bfloat16(), K, prepared)
    assert out.points3d.dtype == out.points2d.dtype == out.uncertainty.dtype == torch.float32
    off = (out.points2d - arrays["coords2d"][:1]).norm(dim=-1)
    assert off.median() < 3
