"""Our torch networks equal the original runtime: on its recorded outputs always, on the runtime itself where
its files can be fetched."""

import subprocess

import numpy as np
import pytest
import torch
from safetensors import safe_open

from backend.nets.graph import load_graph

from . import oracle

LIMIT = 1e-3  # of an output's range


def ours(variant: str, images: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of our network, maps channels last as in the original."""
    graph = load_graph(oracle.ASSETS / f"blazepose_{variant}.safetensors")
    x = torch.from_numpy(oracle.network_input(variant, images)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        out = graph(x)
    return {k: (v.permute(0, 2, 3, 1) if v.ndim == 4 else v).numpy() for k, v in out.items()}


def pictures(variant: str) -> np.ndarray:
    with np.load(oracle.GOLDEN) as golden:
        return oracle.shrink(golden["crops"]) if variant == "detector" else golden["crops"]


def assert_equal(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> None:
    assert got.keys() == want.keys()
    for name, value in want.items():
        span = 1.0 if name == "score" else np.ptp(value)
        assert got[name].shape == value.shape
        difference = np.abs(got[name] - value).max()
        assert difference <= LIMIT * span, f"{name} differs by {difference:.3g} of {span:.3g}"


@pytest.mark.slow
@pytest.mark.parametrize("variant", oracle.MODELS)
def test_equals_the_recorded_outputs(variant):
    with np.load(oracle.GOLDEN) as golden:
        want = {k.split("/")[1]: golden[k] for k in golden.files if k.startswith(f"{variant}/")}
    got = {k: oracle.thin(k, v) for k, v in ours(variant, pictures(variant)).items()}
    assert_equal(got, want)


@pytest.mark.slow
@pytest.mark.parametrize("variant", oracle.MODELS)
def test_equals_the_original_runtime(variant):
    pytest.importorskip("ai_edge_litert", reason="the original runtime is not installed")
    try:
        source = oracle.files()[variant]
    except (OSError, subprocess.CalledProcessError) as e:
        pytest.skip(f"the original .tflite files cannot be fetched here: {e}")
    images = pictures(variant)
    assert_equal(ours(variant, images), oracle.run_original(source, variant, images))


def test_conversion_is_reproducible(tmp_path):
    """The shipped files hold what the script makes of the source: every number, and the whole description."""
    pytest.importorskip("tflite", reason="the converter's own reader is not installed")
    from tools.make_blazepose import write

    try:
        sources = oracle.files()
    except (OSError, subprocess.CalledProcessError) as e:
        pytest.skip(f"the original .tflite files cannot be fetched here: {e}")
    for variant in ("detector", "lite"):
        made = write(variant, sources[variant], tmp_path)
        with safe_open(made, "numpy") as a, safe_open(oracle.ASSETS / made.name, "numpy") as b:
            assert a.metadata() == b.metadata()
            assert set(a.keys()) == set(b.keys())
            for name in a.keys():  # noqa: SIM118 (not a dict)
                assert np.array_equal(a.get_tensor(name), b.get_tensor(name))
