"""What will be installed: one source of versions, and no CUDA on a machine without a GPU.

The two plans are what `pip install --dry-run --report` really wrote for torch 2.13.0 (names, versions, file names): one
with an ordinary index on Linux, one with a CPU build at hand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from installer import ROOT, SetupError, pins

HERE = Path(__file__).parent


def plan(name: str) -> dict:
    return json.loads((HERE / f"plan_{name}.json").read_text(encoding="utf-8"))


def test_cuda_plan_is_refused_with_the_way_out():
    refusal = pins.torch_refusal(plan("cuda"), None)
    assert "18 CUDA packages" in refusal
    assert "--torch-index URL" in refusal and "/whl/cpu" in refusal
    assert refusal.count(". ") == 0 and refusal.endswith(".")


def test_cpu_plan_is_carried_out():
    assert pins.torch_refusal(plan("cpu"), None) is None
    assert pins.torch_refusal(plan("cpu"), 200e6) is None


def test_a_torch_too_big_for_the_cpu_is_refused():
    assert "a torch of 890 MB" in pins.torch_refusal(plan("cpu"), 890e6)


@pytest.mark.parametrize(
    ("python", "bpy", "numpy"),
    [((3, 11), "bpy==4.5", "numpy==1."), ((3, 12), None, "numpy==1."), ((3, 13), "bpy==5.2", "numpy==2.")],
)
def test_pins_for_each_python(python, bpy, numpy):
    module = pins.pins("blender", python)
    assert [m[: len(bpy)] for m in module] == [bpy] if bpy else module == []
    assert [line for line in pins.pins("base", python) if line.startswith(numpy)]
    assert pins.pins("base", python)[0].startswith("torch==")


def test_every_requirement_is_pinned_exactly():
    for group in ("base", "blender", "test", "fbx", "pip"):
        for python in ((3, 11), (3, 12), (3, 13), (3, 14)):
            for line in pins.pins(group, python):
                assert re.fullmatch(r"[a-z][a-z0-9-]*==[0-9][0-9.]*", line), line


def test_versions_stand_in_one_place():
    names = {
        line.partition("==")[0] for group in ("base", "blender", "test", "fbx") for line in pins.pins(group)
    }
    pattern = re.compile(rf"\b({'|'.join(names)})\s*[=<>~]=\s*[0-9]")
    for path in [ROOT / "install.py", ROOT / ".ci" / "run", *(ROOT / "installer").glob("*.py")]:
        assert not pattern.search(path.read_text(encoding="utf-8")), path


def test_an_unknown_marker_is_said():
    with pytest.raises(SetupError, match="sys_platform"):
        pins._marker_holds("sys_platform == 'linux'", (3, 11))


def test_pin_of():
    assert pins.pin_of("av").startswith("av==")
    with pytest.raises(SetupError, match="no version of nothing"):
        pins.pin_of("nothing")
