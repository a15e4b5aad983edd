"""The graph runner: padding, order of channels, what is computed, training, and files that must be refused."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from backend.errors import JobError
from backend.nets.graph import Graph, load_graph

from .oracle import ASSETS

LITE = ASSETS / "blazepose_lite.safetensors"


def one_conv(pad, stride, w):
    node = {
        "op": "conv",
        "in": ["x"],
        "out": "y",
        "name": "c",
        "stride": [stride] * 2,
        "pad": pad,
        "groups": 1,
    }
    spec = {
        "input": "x",
        "input_size": 6,
        "outputs": {"y": "y"},
        "taps": {},
        "nodes": [node | {"act": "relu6"}],
    }
    return Graph(spec, {"c.weight": torch.from_numpy(w), "c.bias": torch.zeros(len(w))})


def test_uneven_padding_comes_after():
    """TensorFlow's SAME at stride 2 on an even picture: the first window begins at pixel 0."""
    x = np.random.default_rng(0).random((1, 1, 6, 6), np.float32)
    w = np.random.default_rng(1).random((1, 1, 3, 3), np.float32)
    got = one_conv([0, 1, 0, 1], 2, w)(torch.from_numpy(x))["y"].detach().numpy()[0, 0]
    big = np.pad(x[0, 0], ((0, 1), (0, 1)))
    want = [[(big[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] * w[0, 0]).sum() for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(got, np.clip(want, 0, 6), rtol=1e-5)


def test_depth_to_space_has_tensorflows_order():
    nodes = [{"op": "depth_to_space", "in": ["x"], "out": "y", "block": 2}]
    spec = {"input": "x", "input_size": 2, "outputs": {"y": "y"}, "taps": {}, "nodes": nodes}
    x = torch.arange(2 * 3 * 8, dtype=torch.float32).reshape(1, 8, 2, 3)
    y = Graph(spec, {})(x)["y"]
    for r in range(4):
        for c in range(6):
            block = ((r % 2) * 2 + c % 2) * 2
            assert torch.equal(y[0, :, r, c], x[0, block : block + 2, r // 2, c // 2])


def test_only_what_is_wanted_is_computed():
    graph = load_graph(LITE)
    seen = []
    for conv in graph.convs.values():
        conv.register_forward_hook(lambda *_: seen.append(1))
    x = torch.rand(1, 3, 256, 256)
    with torch.inference_mode():
        all_outputs = graph(x)
        every = len(seen)
        seen.clear()
        some = graph(x, ("heatmap", "stride32"))
    assert some.keys() == {"heatmap", "stride32"}
    assert 0 < len(seen) < every == len(graph.convs)
    torch.testing.assert_close(some["heatmap"], all_outputs["heatmap"])
    assert some["stride32"].shape == (1, 576, 8, 8)


def test_named_feature_maps():
    want = {"stride4": 64, "stride8": 32, "stride16": 16, "stride32": 8, "pyramid": 64, "global": 2}
    for variant in ("lite", "full", "heavy"):
        graph = load_graph(ASSETS / f"blazepose_{variant}.safetensors")
        with torch.inference_mode():
            maps = graph(torch.rand(1, 3, 256, 256), graph.taps)
        assert {k: maps[k].shape[-1] for k in want} == want


def test_every_parameter_of_the_trunk_learns():
    graph = load_graph(LITE)
    x = torch.rand(1, 3, 256, 256, requires_grad=True)
    graph(x)["landmarks"].square().sum().backward()
    grads = [p.grad for p in graph.parameters() if p.grad is not None]
    assert x.grad.abs().sum() > 0
    assert len(grads) > 100 and all(torch.isfinite(g).all() for g in grads)


def changed(path, tmp_path, edit):
    from safetensors import safe_open

    with safe_open(path, "numpy") as f:
        metadata = f.metadata()
    weights = load_file(path)
    edit(weights, metadata)
    out = tmp_path / "blazepose_lite.safetensors"
    save_file(weights, out, metadata)
    return out


def flip_a_weight(weights, _):
    weights["conv003.weight"] = weights["conv003.weight"] * np.float16(1.5)


def unknown_operator(_, metadata):
    graph = json.loads(metadata["graph"])
    graph["nodes"][3]["op"] = "eval"
    metadata["graph"] = json.dumps(graph)


def missing_node(_, metadata):
    graph = json.loads(metadata["graph"])
    del graph["nodes"][5]
    metadata["graph"] = json.dumps(graph)


def no_graph(_, metadata):
    metadata.clear()


@pytest.mark.parametrize("edit", [flip_a_weight, unknown_operator, missing_node, no_graph])
def test_wrong_contents_are_refused(tmp_path, edit):
    path = changed(LITE, tmp_path, edit)
    with pytest.raises(JobError, match="damaged or of another kind") as e:
        load_graph(path)
    assert e.value.code == "bad_weights"


@pytest.mark.parametrize("cut", [0, 5, 1000, 200_000])
def test_truncated_files_are_refused(tmp_path, cut):
    path = tmp_path / "w.safetensors"
    path.write_bytes(LITE.read_bytes()[:cut])
    with pytest.raises(JobError, match=r"w\.safetensors is damaged"):
        load_graph(path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(JobError, match="is missing"):
        load_graph(tmp_path / "no.safetensors")
