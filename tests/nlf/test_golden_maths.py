"""Decoding, reconstruction and losses equal the reference (tests/golden/README.md sections 4, 5 and 10), and their
gradients equal numeric ones."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from backend.localizers.nlf.pointnetwork import eigenvalue_regularizer
from backend.nets import absolute, losses
from backend.nets.efficientnet import SIZES
from backend.nets.heatmaps import decode_heatmaps, to_metres, to_pixels

from .golden_weights import golden, tensors

CONVENTIONS = [(q, f) for q in ("D", "sqrtD") for f in ("sqrt", "rsqrt")]


def worst(got: Tensor, want: Tensor) -> float:
    assert got.shape == want.shape
    return (got - want).abs().max().item()


def norm_of(q: str, f: str, beta: float = 1.0) -> losses.Norm:
    return losses.Norm(q == "sqrtD", f == "rsqrt", beta)


# Decoding


@pytest.mark.parametrize("size", SIZES)
def test_decoding(size):
    t = tensors("decode")
    uv, xyz, uncertainty = decode_heatmaps(t[f"decode_{size}_logits"])
    side = SIZES[size].side
    assert worst(uv, t[f"decode_{size}_coords2d_unit"]) <= 2e-6
    assert worst(xyz, t[f"decode_{size}_coords3d_unit"]) <= 2e-6
    assert torch.allclose(uncertainty, t[f"decode_{size}_uncert_raw"], rtol=1e-5, atol=0)
    assert worst(to_pixels(uv, side), t[f"decode_{size}_coords2d_px"]) <= 1e-3
    assert worst(to_metres(xyz, side), t[f"decode_{size}_coords3d_rel_m"]) <= 1e-5


def test_decoding_of_half_precision_logits_and_under_autocast():
    logits = tensors("decode")["decode_s_logits"][:, :3]
    want = decode_heatmaps(logits.bfloat16().float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = decode_heatmaps(logits.bfloat16())
    for a, b in zip(got, want, strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, b)


def test_gradients_of_decoding():
    """Numeric gradients see the whole uncertainty, so its map is held still while the others move."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 10, 3, 4, dtype=torch.float64, generator=generator)

    def places(maps: Tensor) -> tuple[Tensor, Tensor]:
        return decode_heatmaps(torch.cat([logits[:, :1], maps], 1))[:2]

    def uncertainty(first: Tensor) -> Tensor:
        return decode_heatmaps(torch.cat([first, logits[:, 1:]], 1))[2]

    assert torch.autograd.gradcheck(places, logits[:, 1:].clone().requires_grad_())
    assert torch.autograd.gradcheck(uncertainty, logits[:, :1].clone().requires_grad_())
    logits.requires_grad_()
    decode_heatmaps(logits)[2].sum().backward()
    assert logits.grad[:, 0].abs().min() > 0
    assert logits.grad[:, 1:].abs().max() == 0


# Absolute reconstruction


def variant(size: str, config: dict, dtype: torch.dtype = torch.float32) -> absolute.Reconstruction:
    t = {k[2:]: v for k, v in tensors("reconstruct", dtype).items() if k.startswith(f"{size}_")}
    return absolute.reconstruct(
        t["coords2d"],
        t["coords3d_rel"],
        t["intrinsics"],
        SIZES[size].side,
        t["mask"] if config["mask"] else None,
        mix=t["mix_per_example"] if config["mix"] == "per_example" else config["mix"],
        borders=absolute.Borders(config["bf1"], config["bf2"] or config["bf1"]),
        weak_perspective=config["weak"],
        judge_by_3d=config["on3d"],
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("config", [json.loads(str(c)) for c in golden("reconstruct")["configs"]], ids=str)
def test_reconstruction(size, config):
    want = tensors("reconstruct")[f"{size}_{config['name']}"]
    got = variant(size, config).points3d
    # In float64 the very same numbers, the ill-posed examples included: they are stored in float32.
    assert torch.allclose(variant(size, config, torch.float64).points3d, want.double(), atol=1e-6, rtol=2e-7)
    off = (got - want).abs().amax((1, 2))
    print(size, config["name"], [f"{v:.1e}" for v in off])
    assert got.isfinite().all()
    lonely = 1e-4 if config["weak"] or not config["mask"] else 0.5
    limits = torch.tensor([1e-4, 1e-4, 1e-4, 1e-4, 1e-3, lonely, 1e-4, 1e-4])
    assert (off <= limits).all()
    if config["name"] == "full_test":
        mixed = variant(size, config).mixed
        assert torch.equal(mixed, tensors("reconstruct")[f"{size}_full_test_branch2d"])


@pytest.mark.parametrize("size", SIZES)
def test_translations_and_views(size):
    t, side = tensors("reconstruct"), SIZES[size].side
    coords2d = t[f"{size}_coords2d"]
    for border in ("0.55", "0.6", "0.75", "1"):
        assert torch.equal(absolute.in_view(coords2d, side, float(border)), t[f"{size}_infov_{border}"])
    rays = absolute.normalize(coords2d, t[f"{size}_intrinsics"])
    valid = t[f"{size}_mask"] & absolute.in_view(coords2d, side, 1.0)
    limits = torch.tensor([1e-4] * 4 + [1e-3, 0.5, 1e-4, 1e-4])[:, None]
    for name, solve in (("full", absolute.solve_full_perspective), ("weak", absolute.solve_weak_perspective)):
        got = solve(rays, t[f"{size}_coords3d_rel"], valid)
        assert ((got - t[f"{size}_ref_{name}"]).abs() <= limits).all()


@pytest.mark.slow
@pytest.mark.parametrize("weak", [False, True])
def test_gradients_of_reconstruction(weak):
    t = tensors("reconstruct", torch.float64)
    pick = slice(0, 3)
    valid, K = t["s_mask"][pick, :8], t["s_intrinsics"][pick]

    def points(coords2d: Tensor, rel: Tensor, mix: Tensor) -> Tensor:
        return absolute.reconstruct(
            coords2d, rel, K, 256, valid, mix=mix, weak_perspective=weak, judge_by_3d=False
        ).points3d

    inputs = [t["s_coords2d"][pick, :8], t["s_coords3d_rel"][pick, :8], t["s_mix_per_example"][pick]]
    assert torch.autograd.gradcheck(points, [x.clone().requires_grad_() for x in inputs])


def test_points_behind_the_camera_keep_their_place():
    """Behind the camera a point projects into the picture all the same; it must not be drawn to that ray."""
    generator = torch.Generator().manual_seed(3)
    K = torch.tensor([[[300.0, 0, 128], [0, 300, 128], [0, 0, 1]]])
    rel = torch.rand(1, 30, 3, generator=generator)
    place = rel + torch.tensor([-0.5, -0.5, 2.0])
    coords2d = absolute.project(place, K)
    seen = torch.ones(1, 30, dtype=torch.bool)
    seen[0, 0] = False
    rel[0, 0, 2] -= 5
    out = absolute.reconstruct(coords2d, rel, K, 256, seen)
    assert out.points3d[0, 0, 2] < -2
    assert absolute.in_view(absolute.project(out.points3d, K), 256, 0.6)[0, 0]
    assert not out.mixed[0, 0]
    assert out.mixed[0, 1:].all()


def test_thousands_of_points_on_one_ray_stay_finite():
    """An untrained model sees everything in one place: only the ridge is left, and rounding must not win."""
    coords2d = torch.full((1, 8192, 2), 140.0)
    K = tensors("reconstruct")["s_intrinsics"][:1]
    rel = torch.full((1, 8192, 3), 1.1).requires_grad_()
    out = absolute.reconstruct(coords2d, rel, K, 256).points3d
    out.sum().backward()
    assert out.isfinite().all()
    assert rel.grad.isfinite().all()


# Losses


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("q", "f"), CONVENTIONS)
@pytest.mark.parametrize("beta", ["0", "0.5", "1"])
def test_beta_nll(dims, q, f, beta):
    t = tensors("loss", torch.float64)
    d, s = (t[f"nll{dims}_{k}"].clone().requires_grad_() for k in ("diff", "uncert"))
    loss = losses.beta_nll(d, s, norm_of(q, f, float(beta)))
    key = f"nll{dims}_{q}_{f}_beta{beta}"
    assert worst(loss, t[key]) <= 1e-6
    loss.sum().backward()
    assert torch.allclose(d.grad, t[f"{key}_grad_diff"], rtol=1e-5, atol=1e-9)
    assert torch.allclose(s.grad, t[f"{key}_grad_uncert"], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("q", "f"), CONVENTIONS)
@pytest.mark.parametrize("step", [1000, 20000])
def test_loss_with_3d(q, f, step):
    loss, p, s = loss_3d(norm_of(q, f), step)
    t, key = tensors("loss", torch.float64), f"gt3d_{q}_{f}_step{step}_"
    loss.total.backward()
    parts = (
        ("total", loss.total),
        ("loss3d", loss.relative),
        ("loss2d", loss.pixels),
        ("loss3d_abs", loss.absolute),
    )
    for name, value in parts:
        assert worst(value, t[key + name]) <= 1e-6
    assert worst(p.grad, t[f"{key}grad_coords3d"]) <= 1e-6
    assert worst(s.grad, t[f"{key}grad_uncert"]) <= 1e-6


def loss_3d(norm: losses.Norm, step: int, rows: slice = slice(None)) -> tuple[losses.Loss3D, Tensor, Tensor]:
    t = tensors("loss", torch.float64)
    p, s = (t[k][rows].clone().requires_grad_() for k in ("coords3d_pred", "uncert"))
    valid, root, K = t["point_validity"][rows], t["root_index"][rows], t["intrinsics"][rows]
    # What is not annotated may hold NaN: neither loss nor gradient may see it.
    true = torch.where(valid[..., None], t["coords3d_true"][rows], torch.nan)
    return losses.loss_with_3d(true, p, s, valid, root, K, 256, step, norm), p, s


def loss_2d(norm: losses.Norm, rows: slice = slice(None)) -> tuple[Tensor, Tensor, Tensor]:
    t = tensors("loss", torch.float64)
    p, s = (t[k][rows].clone().requires_grad_() for k in ("coords3d_pred", "uncert"))
    valid, K = t["point_validity"][rows], t["intrinsics"][rows]
    true = torch.where(valid[..., None], t["coords2d_true"][rows], torch.nan)
    return losses.loss_with_2d(true, p, s, valid, K, 256, norm), p, s


@pytest.mark.parametrize(("q", "f"), CONVENTIONS)
def test_loss_with_2d(q, f):
    loss, p, s = loss_2d(norm_of(q, f))
    t, key = tensors("loss", torch.float64), f"gt2d_{q}_{f}_"
    loss.backward()
    assert worst(loss, t[f"{key}total"]) <= 1e-6
    assert worst(p.grad, t[f"{key}grad_coords3d"]) <= 1e-6
    assert worst(s.grad, t[f"{key}grad_uncert"]) <= 1e-6


@pytest.mark.parametrize(("q", "f"), CONVENTIONS)
def test_aggregation(q, f):
    t, key, norm = tensors("loss", torch.float64), f"agg_{q}_{f}_", norm_of(q, f)
    weight = t["field_first_layer_weight"]
    regularizer = eigenvalue_regularizer(weight)
    param, kp3d = (loss_3d(norm, 20000, slice(i, i + 1))[0].total for i in (0, 1))
    dense, kp2d = (loss_2d(norm, slice(i, i + 1))[0] for i in (2, 3))
    total = losses.aggregate(param, kp3d, dense, kp2d, regularizer)
    named = {"parambatch": param, "kpbatch": kp3d, "densebatch": dense, "2dbatch": kp2d}
    for name, value in named.items():
        assert worst(value, t[f"{key}loss_{name}"]) <= 1e-6
    assert worst(regularizer, t[f"{key}eigval_regul"]) <= 1e-6
    assert worst(total, t[f"{key}loss"]) <= 1e-6


def test_masks():
    t = tensors("loss", torch.float64)
    K = t["intrinsics"]
    for name in ("true", "pred"):
        pixels = losses.project_from_afar(t[f"coords3d_{name}"], K)
        assert torch.allclose(pixels, t[f"coords2d_from_{name}"], atol=1e-3, rtol=1e-7)
        assert torch.equal(losses.near_view(pixels, 256), t[f"mask_near_fov_{name}"])
    assert torch.equal(losses.near_view(t["coords2d_true"], 256), t["mask_near_fov_true_2d"])
    assert torch.equal(t["coords3d_true"][..., 2] > losses.NEAREST_M, t["mask_far_enough"])


def test_gradients_of_losses():
    """beta 0 has no stopped gradient, so that numeric ones are its own; the beta is a plain factor."""
    t = tensors("loss", torch.float64)
    K, root, valid = t["intrinsics"], t["root_index"], t["point_validity"]
    pick = (slice(None), slice(0, 6))
    inputs = [t[k][pick].clone().requires_grad_() for k in ("coords3d_pred", "uncert")]
    norm = losses.Norm(beta=0.0)

    def with_3d(p: Tensor, s: Tensor) -> Tensor:
        return losses.loss_with_3d(
            t["coords3d_true"][pick], p, s, valid[pick], root, K, 256, 9999, norm
        ).total

    def with_2d(p: Tensor, s: Tensor) -> Tensor:
        return losses.loss_with_2d(t["coords2d_true"][pick], p, s, valid[pick], K, 256, norm)

    assert torch.autograd.gradcheck(with_3d, inputs)
    assert torch.autograd.gradcheck(with_2d, inputs)
