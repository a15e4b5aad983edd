"""Frozen networks: ONNX Runtime gives PyTorch's answers on real crops, and the shipped graphs are those of the code."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from backend.errors import JobError
from backend.localizers.field.file import load_field
from backend.localizers.field.localizer import WEIGHTS
from backend.localizers.field.look import FieldHeads, FieldLook
from backend.localizers.field.model import FieldFeatures
from backend.localizers.nlf.crop_model import CropLink, CropModel
from backend.localizers.nlf.precision import prepare_model
from backend.nets import engine
from backend.nets.blazepose import BlazePose, pose_net
from backend.nets.engine import RUNTIME, TORCH, Eager, Runtime, choose_engine, create_engine
from backend.people.persons import SIDE as PERSON_SIDE
from backend.people.upright import SIDE, detector_net
from backend.people.window import cut_window, whole_window
from tools.make_graphs import NETWORKS, graph_of

from . import oracle

QUICK = ("blazepose_detector", "blazepose_lite")
EVERY = [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in NETWORKS]
SEEING = [p for p in EVERY if p.values[0] not in ("field_heads", "nlf_s", "nlf_l")]


@pytest.fixture(scope="module")
def crops():
    with np.load(oracle.GOLDEN) as golden:
        return golden["crops"]


def pictures_for(name: str, crops: np.ndarray) -> np.ndarray:
    sides = {"blazepose_detector": SIDE, "nanodet": PERSON_SIDE}
    if name in sides:
        return np.stack([cut_window(c, *whole_window(c), sides[name])[0] for c in crops])
    return crops


@pytest.mark.parametrize("name", SEEING)
def test_both_engines_give_the_same_answers(name, crops):
    module, pictures = NETWORKS[name]()[0], pictures_for(name, crops)
    fast = Runtime(name, module).run(pictures)
    slow = Eager(module, "cpu").run(pictures)
    assert len(fast) == len(slow)
    for a, b in zip(fast, slow, strict=True):
        assert a.shape == b.shape and a.dtype == torch.float32
        # A score alone has no range of its own.
        spread = max(float(b.max() - b.min()), 1.0 if b.ndim == 1 else 0.0)
        assert float((a - b).abs().max()) <= 1e-3 * spread


@pytest.mark.slow
def test_heads_give_the_same_places_for_any_number_of_points(crops):
    model = load_field(WEIGHTS)
    heads, seen = Runtime("field_heads", FieldHeads(model)), Eager(FieldLook(model), "cpu").run(crops)
    features = FieldFeatures(*seen)
    for count in (1, 33, 700):
        where = torch.from_numpy(
            np.random.default_rng(count).uniform(-0.6, 0.6, (count, 3)).astype(np.float32)
        )
        points = model.prepare(where)
        asked = [t.numpy() for t in (points.weights, points.biases, points.places)]
        for i in range(len(crops)):
            row = [t[i : i + 1].numpy() for t in (features.cells, features.code, features.frame)]
            with torch.inference_mode():
                wanted = model.heads(features.rows(slice(i, i + 1)), points)
            found = heads.call(*row, *asked)
            for a, b in zip(found, (wanted.coords2d, wanted.coords3d_rel, wanted.uncertainty), strict=True):
                assert np.abs(a - b.numpy()).max() <= 1e-3 * max(float(b.max() - b.min()), 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["s", "l"])
def test_nlfs_crops_are_seen_alike(size):
    torch.manual_seed(0)
    model = prepare_model(CropModel(size), "cpu")
    with torch.inference_mode():
        # Random weights amplify: two ways of rounding would end far apart.
        for weight in model.backbone.parameters():
            weight.mul_(0.7)
        images = torch.rand(2, 3, model.side, model.side)
        wanted = model.link(images)
        model.runtime = Runtime(f"nlf_{size}", CropLink(model), 2)
        found = model.link(images)
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= 1e-3 * float(wanted.max() - wanted.min())


@pytest.mark.parametrize("name", EVERY)
def test_shipped_graphs_are_those_of_the_code(name):
    """After a change of a network: python -m tools.make_graphs"""
    graph, said = graph_of(*NETWORKS[name]())
    assert said == engine.description(name)
    assert graph == (engine.GRAPHS / f"{name}.onnx").read_bytes()


def test_every_shipped_graph_is_known():
    assert {p.stem for p in engine.GRAPHS.glob("*.onnx")} == set(NETWORKS) == set(engine.KNOWN)


def test_weights_are_those_of_the_module(crops):
    """The graph brings none of its own: other weights, other answers."""
    module = pose_net("lite")
    before = Runtime("blazepose_lite", module).run(crops)[0]
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(0.9)
    after = Runtime("blazepose_lite", module).run(crops)[0]
    assert float((before - after).abs().max()) > 1
    np.testing.assert_allclose(after, Eager(module, "cpu").run(crops)[0], atol=0.2)


def test_weights_live_as_long_as_the_engine(crops):
    """ONNX Runtime reads from the arrays that it was given: nobody else may hold them."""
    made = Runtime("blazepose_detector", detector_net())
    first = made.run(pictures_for("blazepose_detector", crops))[0].clone()
    junk = [np.full(100_000, np.nan, np.float32) for _ in range(50)]
    assert torch.equal(made.run(pictures_for("blazepose_detector", crops))[0], first)
    del junk


def test_a_module_of_another_shape_runs_in_torch():
    assert create_engine("blazepose_full", pose_net("lite")).name == TORCH
    with pytest.raises(JobError, match="no graph for these weights"):
        create_engine("blazepose_full", pose_net("lite"), wanted=RUNTIME)
    assert create_engine("blazepose_lite", pose_net("lite")).name == RUNTIME


def test_choice(monkeypatch):
    assert choose_engine() == RUNTIME and choose_engine("cpu", TORCH) == TORCH
    assert choose_engine("mps") == TORCH
    with pytest.raises(JobError, match="choose one of auto, torch, onnxruntime"):
        choose_engine("cpu", "tensorrt")
    with pytest.raises(JobError, match="on the processor only"):
        choose_engine("cuda", RUNTIME)
    monkeypatch.setattr(engine, "is_installed", lambda: False)
    assert choose_engine() == TORCH
    with pytest.raises(JobError, match=r"python install\.py setup"):
        choose_engine("cpu", RUNTIME)


def test_eager_can_be_asked_for(crops):
    slow, fast = BlazePose("lite", engine=TORCH), BlazePose("lite")
    assert (slow.engine.name, fast.engine.name) == (TORCH, RUNTIME)
    np.testing.assert_allclose(slow.run(crops).points_crop, fast.run(crops).points_crop, atol=0.1)


def test_a_damaged_graph_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "GRAPHS", tmp_path)
    engine.description.cache_clear()
    try:
        with pytest.raises(JobError, match="get the project's files again"):
            Runtime("blazepose_lite", pose_net("lite"))
        (tmp_path / "blazepose_lite.json").write_text('{"weights": {}}')
        (tmp_path / "blazepose_lite.onnx").write_bytes(b"no graph")
        with pytest.raises(JobError, match="get the project's files again"):
            Runtime("blazepose_lite", pose_net("lite"))
    finally:
        engine.description.cache_clear()


@pytest.mark.slow
def test_the_product_does_not_need_what_writes_graphs():
    """`onnx` is for developers: with it out of reach, a network still runs."""
    code = (
        "import sys; sys.modules['onnx'] = None; import numpy as np; "
        "from backend.nets.blazepose import BlazePose; "
        "print(BlazePose('lite').run(np.zeros((1, 256, 256, 3), np.uint8)).score.shape)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "(1,)"


assert SIDE == 224
