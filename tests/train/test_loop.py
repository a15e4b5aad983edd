"""The loop: it learns, it goes on to the bit, it ends in order, it refuses what is not its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from backend.errors import JobError
from backend.localizers.field.file import load_field
from backend.train import checkpoint
from backend.train.config import Lifting
from backend.train.loop import Progress, train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.checkpoints(folder)[-1])


def test_learns_a_handful_of_people(recipe, tmp_path):
    recipe = replace(recipe, optim=replace(recipe.optim, steps=30, batch=4, lr=4e-3, freeze="all"))
    told: list[Progress] = []
    path = train(recipe, tmp_path, tell=told.append)
    figure = lambda part: sum(p.figures["synthetic/pve_mm"] for p in part) / len(part)  # noqa: E731
    assert figure(told[-5:]) < 0.75 * figure(told[:3])
    assert told[-1].done == told[-1].total == 30
    assert told[-1].left == 0
    assert path is not None
    model = load_field(path)
    assert model.config == recipe.model
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 30
    assert lines[-1]["seen"] == 120


def test_goes_on_to_the_bit(mixed_recipe, tmp_path):
    along = Lifting(motion=str(motion(tmp_path)), along=4, points=8, bank=16)
    mixed_recipe = replace(mixed_recipe, lifting=along)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(mixed_recipe, whole)
    assert train(mixed_recipe, parts, stop_at=2) is None
    with pytest.raises(JobError, match="--resume"):
        train(mixed_recipe, parts)
    assert train(mixed_recipe, parts, resume=True, stop_at=3) is None
    assert train(mixed_recipe, parts, resume=True) is not None
    one, other = weights_of(whole), weights_of(parts)
    assert one.keys() == other.keys()
    assert any(k.startswith("optim.") for k in one)
    for name in one:
        assert torch.equal(one[name], other[name]), name
    changed = [k for k in one if k.startswith("model.trunk") and not torch.equal(one[k], one["ema." + k[6:]])]
    assert changed


def test_another_models_checkpoint_is_refused(recipe, tmp_path):
    train(recipe, tmp_path, stop_at=1)
    other = replace(recipe, model=replace(recipe.model, width=64))
    with pytest.raises(JobError, match=r"another model \(width differ\)"):
        train(other, tmp_path, resume=True)
    checkpoint.checkpoints(tmp_path)[-1].write_bytes(b"nothing")
    with pytest.raises(JobError, match="no checkpoint or damaged"):
        train(recipe, tmp_path, resume=True)


def test_only_the_newest_checkpoints_are_kept(recipe, tmp_path):
    recipe = replace(recipe, run=replace(recipe.run, save=1, keep=2))
    # Left by a training that was killed while it wrote.
    half = tmp_path / ".checkpoint_00000002.1234.part.safetensors"
    half.write_bytes(b"half of it")
    train(recipe, tmp_path, stop_at=4)
    assert not half.exists()
    assert [p.name for p in checkpoint.checkpoints(tmp_path)] == [
        "checkpoint_00000003.safetensors",
        "checkpoint_00000004.safetensors",
    ]


def test_judges_see_the_average_and_change_nothing(recipe, tmp_path):
    recipe = replace(recipe, run=replace(recipe.run, judge=2))
    seen = []

    def judge(model):
        assert not model.training
        seen.append(model.field.last.weight.detach().clone())
        return {"figure": 1.5}

    train(recipe, tmp_path / "a", judges={"j": judge}, stop_at=4)
    train(recipe, tmp_path / "b", stop_at=4)
    one, other = weights_of(tmp_path / "a"), weights_of(tmp_path / "b")
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert torch.equal(seen[-1], one["ema.field.last.weight"])
    assert len(seen) == 2
    lines = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines if "j/figure" in x] == [2, 4]


def test_lifting_comes_first_and_once(recipe, tmp_path):
    recipe = replace(
        recipe, lifting=Lifting(steps=2, motion=str(motion(tmp_path)), batch=8, points=8, bank=16)
    )
    train(recipe, tmp_path / "out", stop_at=1)
    assert (tmp_path / "out" / "lifted.safetensors").exists()
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert sum("lifting/mm" in x for x in lines) == 1
    train(recipe, tmp_path / "out", resume=True, stop_at=2)
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert sum("lifting/mm" in x for x in lines) == 1


def motion(folder: Path) -> Path:
    """A file of body poses of the layout of ours."""
    import numpy as np

    rng = np.random.default_rng(0)
    file = folder / "motion.npz"
    np.savez(file, **{f"a__k{i}__c{i}": rng.normal(0, 0.2, (5, 66)).astype(np.float16) for i in range(12)})
    return file


RUN = """
import sys
from pathlib import Path
from dataclasses import replace
from backend.train.config import *
from backend.train.loop import train
from train.conftest import SMALL
shards, out, steps = sys.argv[1:]
recipe = Recipe(model=SMALL, data=Data(points=80, synthetic=Synthetic(shards=(shards,))),
    optim=Optim(steps=int(steps), batch=4, warmup=2, freeze="all"),
    run=Run(workers=WORKERS, device="cpu", log=1, save=10_000))
print(train(recipe, Path(out), tell=lambda p: print("step", p.done, flush=True)))
"""


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send")
def test_sigterm_leaves_a_checkpoint(shards, tmp_path):
    code = RUN.replace("WORKERS", "1")
    command = [sys.executable, "-c", code, str(shards), str(tmp_path), "100000"]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("step 1")
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(60) == 0
    assert rest.splitlines()[-1] == "None"
    (saved,) = checkpoint.checkpoints(tmp_path)
    state, _ = checkpoint.load(saved, json.loads(json.dumps(_small())))
    assert state.step >= 1
    assert state.seen == 4 * state.step


def _small() -> dict:
    from dataclasses import asdict

    from train.conftest import SMALL

    return asdict(SMALL)


@pytest.mark.skipif(os.name == "nt", reason="gloo on Windows wants its own network set-up")
def test_two_processes_train_one_model(shards, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(RUN.replace("WORKERS", "0"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               str(script), str(shards), str(tmp_path / "out"), "2"]  # fmt: skip
    ran = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr
    assert (tmp_path / "out" / "field.safetensors").exists()
    state, tensors = checkpoint.load(checkpoint.checkpoints(tmp_path / "out")[-1], _small())
    assert (state.step, state.seen) == (2, 8)
    assert all(torch.isfinite(v).all() for v in tensors.values())
