"""Folded, in 16 bits, compiled: still the same model; and what cannot be had is said in one sentence."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch
from torch import nn

from backend.errors import JobError
from backend.localizers.nlf.crop_model import CropModel
from backend.localizers.nlf.folding import fold
from backend.localizers.nlf.precision import PRECISIONS, compiled, precision, prepare_model
from backend.nets.efficientnet import Backbone, Preprocess

from .golden_weights import golden_model, tensors
from .test_golden_net import close, images_and_cameras

COMPILER = shutil.which("g++") or shutil.which("clang++") or shutil.which("cl")


def tiny(gain: float = 1.0) -> CropModel:
    """A crop model whose backbone is one convolution, norm and all."""
    torch.manual_seed(0)
    model = CropModel("s")
    conv = nn.Conv2d(3, 1280, 32, 32, bias=False)
    conv.weight.data *= gain
    model.backbone = Backbone(
        Preprocess(), nn.Sequential(nn.Sequential(conv, nn.BatchNorm2d(1280), nn.SiLU()))
    )
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("size", ["s", "l"])
@torch.inference_mode()
def test_a_prepared_model_meets_the_golden_tolerances(size):
    model = prepare_model(copy.deepcopy(golden_model(size)), "cpu")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    arrays = tensors(f"net_{size}")
    out = model.forward_prepared(*images_and_cameras(size), model.prepare(arrays["points"], mirrored=False))
    close(out.points2d, size, "coords2d")
    close(out.relative.coords3d_rel, size, "coords3d_rel")
    close(out.points3d * 1000, size, "points3d_abs")
    close(out.uncertainty, size, "uncert")
    assert torch.equal(out.valid, arrays["valid_mask"])


def test_folding_keeps_every_number():
    """Norms of every kind of layer, with statistics that are not those of a new model."""
    model = tiny()
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        for values in (norm.weight.data, norm.bias.data, norm.running_mean):
            values.normal_()
        norm.running_var.uniform_(0.5, 2)
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        want = model.heatmap_head.layer(model.features(image))
        got = fold(model)
        for _ in range(2):
            torch.testing.assert_close(
                got.heatmap_head.layer(got.features(image)), want, rtol=1e-4, atol=1e-5
            )
            got = fold(got)


@pytest.mark.slow
@torch.inference_mode()
def test_bfloat16_on_a_processor_stays_near():
    said: list[str] = []
    model = prepare_model(copy.deepcopy(golden_model("s")), "cpu", "bf16", note=said.append)
    assert next(model.backbone.parameters()).dtype == torch.bfloat16
    images, K = (x[:2] for x in images_and_cameras("s"))
    prepared = model.prepare(tensors("net_s")["points"], mirrored=False)
    out = model.forward_prepared(images.bfloat16(), K, prepared)
    for values in (prepared.weights, out.points3d, out.points2d, out.uncertainty):
        assert values.dtype == torch.float32
    off = (out.points2d - tensors("net_s")["coords2d"][:2]).norm(dim=-1)
    assert 1e-3 < off.median() < 3
    assert (out.uncertainty - tensors("net_s")["uncert"][:2]).abs().median() < 0.02
    assert not said


def test_each_device_gets_its_numbers(monkeypatch):
    said: list[str] = []
    assert precision("cpu") == precision("mps") == torch.float32
    assert precision("cpu", "bf16") == torch.bfloat16
    assert precision("mps", "fp16") == torch.float16
    for capability, expected in (((8, 9), torch.float16), ((7, 0), torch.float16), ((6, 1), torch.float32)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, c=capability: c)
        assert precision("cuda", note=said.append) == expected
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda emulated: True)
    assert precision("cuda:0", "bf16", said.append) == torch.bfloat16
    assert not said
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda emulated: False)
    assert precision("cuda", "bf16", said.append) == torch.float16
    assert precision("cpu", "fp16", said.append) == torch.float32
    assert len(said) == 2
    assert "bf16" in said[0]
    assert "processor" in said[1]


def test_an_unknown_word_is_refused():
    with pytest.raises(JobError, match="choose one of " + ", ".join(PRECISIONS)):
        precision("cpu", "half")


@pytest.mark.slow
def test_a_model_that_overflows_runs_in_float32(monkeypatch):
    monkeypatch.setattr("backend.localizers.nlf.precision.precision", lambda *_: torch.float16)
    said: list[str] = []
    good = prepare_model(tiny(), "cpu", "fp16", note=said.append)
    assert next(good.backbone.parameters()).dtype == torch.float16
    assert not said
    model = prepare_model(tiny(1e7), "cpu", "fp16", note=said.append)
    weight = next(model.backbone.parameters())
    assert weight.dtype == torch.float32
    assert weight.isfinite().all()
    assert len(said) == 1
    assert "fp16" in said[0]


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler here, which torch.compile needs on a processor")
def test_compiled_is_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    said: list[str] = []
    model = fold(tiny())
    eager = copy.deepcopy(model)
    fast = compiled(model, said.append)
    assert not said
    with torch.no_grad(), torch._dynamo.config.patch(error_on_recompile=True):
        for crops in (1, 2, 5):
            images = torch.rand(crops, 3, 256, 256)
            torch.testing.assert_close(fast.features(images), eager.features(images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_without_a_compiler_the_model_runs_as_it_is(monkeypatch, tmp_path):
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(config, "force_disable_caches", True)
    torch._dynamo.reset()
    said: list[str] = []
    model = prepare_model(tiny(), "cpu", compile_it=True, note=said.append)
    assert len(said) == 1
    assert "could not be compiled" in said[0]
    assert "\n" not in said[0]
    with torch.no_grad():
        assert model.features(torch.rand(3, 3, 256, 256)).shape == (3, 1280, 8, 8)
