"""Training the temporal network: lessons that depend on number and seed alone, a bank that mirrors, a run that goes on.

The motion file is made up here, in the layout of the published one.
"""

from __future__ import annotations

import json
import signal
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from safetensors import safe_open
from typer.testing import CliRunner

from backend.body.skeleton import JOINT
from backend.commands.train_motion import train_motion
from backend.errors import JobError
from backend.motion.temporal.describe import LANDMARKS
from backend.motion.temporal.model import TemporalModel
from backend.motion.temporal.network import TemporalNet
from backend.train import checkpoint
from backend.train.temporal import stage
from backend.train.temporal.bank import FPS, load_bank
from backend.train.temporal.lessons import Lessons
from backend.train.temporal.localizer import SimulatedLocalizer
from backend.train.temporal.stage import WEIGHTS, Plan, angle, chained, costs, export, learn

pytestmark = pytest.mark.slow

LONG = (70, 60)


def walk(n: int, pace: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, 66) poses, (n, 3) ways of the pelvis, (n, 4) contacts of somebody who walks."""
    s = np.sin(2 * np.pi * pace * np.arange(n) / FPS + seed)
    poses = np.zeros((n, 22, 3), np.float32)
    poses[:, JOINT["left_hip"], 0], poses[:, JOINT["right_hip"], 0] = -0.4 * s, 0.4 * s
    poses[:, JOINT["left_knee"], 0] = 0.3 + 0.3 * s
    poses[:, JOINT["right_knee"], 0] = 0.3 - 0.3 * s
    poses[:, JOINT["left_elbow"], 1] = -0.5
    trans = np.stack([0.1 * s, 0.93 + 0.01 * s, 1.1 * np.arange(n) / FPS], 1)
    contacts = np.stack([s > 0.1, s > 0.2, s < -0.1, s < -0.2], 1)
    return poses.reshape(n, 66), trans.astype(np.float32), contacts


@pytest.fixture(scope="module")
def motion(tmp_path_factory) -> Path:
    """Two clips to learn from and one held-out (see `backend.synth.split`)."""
    file = tmp_path_factory.mktemp("motion") / "cmu_30fps.npz"
    names, sources, long = ["01_01", "02_03", "05_01"], ["mb", "mb", "mb"], (*LONG, 40)
    clips = [walk(n, 0.9 + 0.2 * k, k) for k, n in enumerate(long)]
    bad = np.zeros(sum(long), bool)
    bad[5] = True
    np.savez(
        file, poses=np.concatenate([c[0] for c in clips]).astype(np.float16), offsets=np.cumsum([0, *long]),
        trans=np.concatenate([c[1] for c in clips]), contacts=np.concatenate([c[2] for c in clips]),
        names=np.array(names), source=np.array(sources), leg=np.float32([0.84, 0.8, 0.82]),
        floor=np.float32([0, 0.01, 0]), floor_ok=np.array([True, False, True]), bad=bad,
    )  # fmt: skip
    return file


@pytest.fixture(scope="module")
def bank(motion):
    return load_bank(motion, "train")


@pytest.fixture(scope="module")
def lessons(bank):
    return Lessons(bank, SimulatedLocalizer(), length=40, seed=3)


def arrays(thing) -> dict[str, torch.Tensor]:
    return {f.name: getattr(thing, f.name) for f in fields(thing)}


def test_the_bank_is_split_by_performer(motion, bank):
    assert np.diff(bank.starts).tolist() == [LONG[0], LONG[0], LONG[1], LONG[1]]
    assert np.diff(load_bank(motion, "held-out", mirror=False).starts).tolist() == [40]
    assert bank.chance.sum() == pytest.approx(1) and bank.chance[0] > bank.chance[2]
    assert bank.bad.sum() == 2
    assert bank.lifted.tolist() == [True] * (2 * LONG[0]) + [False] * (2 * LONG[1])


def test_every_clip_is_there_in_the_mirror(bank):
    own, mirror = slice(0, LONG[0]), slice(LONG[0], 2 * LONG[0])
    np.testing.assert_array_equal(bank.contacts[own, :4], bank.contacts[mirror][:, [2, 3, 0, 1]])
    left, right = JOINT["left_hip"], JOINT["right_hip"]
    flip = np.diag([-1.0, 1, 1])
    for a, b in ((left, right), (right, left), (0, 0)):
        turned = flip @ bank.turned[own, a].astype(np.float32) @ flip
        np.testing.assert_allclose(turned, bank.turned[mirror, b].astype(np.float32), atol=3e-3)
    ankles = [JOINT["left_ankle"], JOINT["right_ankle"]]
    assert not np.allclose(bank.turned[own][:, ankles], bank.turned[mirror][:, ankles], atol=0.1)
    # Another body, as long in the leg as its own bones say: the way is mirrored and as much longer.
    legs = [
        np.linalg.norm(bank.bones[c, [JOINT["left_knee"], JOINT["left_ankle"]]], axis=-1).sum()
        for c in (0, 1)
    ]
    np.testing.assert_allclose(
        bank.pelvis[own] * [-1, 1, 1] / legs[0], bank.pelvis[mirror] / legs[1], rtol=0.02, atol=0.02
    )


def test_landmarks_belong_to_left_and_right(bank):
    hips = bank.landmarks[:, [23, 24], 0].astype(np.float32)
    assert (hips[:, 0] > 0.03).all() and (hips[:, 1] < -0.03).all()


def test_a_lesson_is_a_function_of_its_number_and_the_seed(bank, lessons):
    one, again, other = lessons.lesson(4, 5), lessons.lesson(4, 5), lessons.lesson(5, 5)
    elsewhere = Lessons(bank, lessons.localizer, length=40, seed=4).lesson(4, 5)
    for k in range(2):
        for name, a in arrays(one[k]).items():
            assert torch.equal(a, arrays(again[k])[name]), name
    for different in (other, elsewhere):
        assert not torch.equal(one[0].points, different[0].points)
        assert not torch.equal(one[1].turned, different[1].turned)


def test_lessons_are_finite_and_near_the_truth(lessons):
    for number in range(4):
        seen, truth = lessons.lesson(number, 8)
        for name, a in (arrays(seen) | arrays(truth)).items():
            assert torch.isfinite(a).all(), name
        assert seen.points.shape == (8, 40, LANDMARKS, 3)
        assert (seen.points[..., 2] > 0).all() and (seen.sigma > 0).all()
        eye = truth.turned @ truth.turned.mT
        torch.testing.assert_close(eye, torch.eye(3).expand_as(eye), atol=1e-4, rtol=0)
        torch.testing.assert_close(truth.up.norm(dim=-1), torch.ones(8, 40), atol=1e-4, rtol=0)
        about = seen.points - seen.points[..., [23, 24], :].mean(-2, keepdim=True)
        off = (about - truth.landmarks).norm(dim=-1).mean()
        assert 0.01 < off < 0.25
        assert truth.contacts.min() >= 0 and truth.contacts.max() <= 1
        # Bodies stand against gravity.
        spine = truth.landmarks[..., [11, 12], :].mean(-2)
        assert (torch.nn.functional.normalize(spine, dim=-1) * truth.up).sum(-1).mean() > 0.8


def test_velocity_is_that_of_somebody_who_walks(lessons):
    _, truth = lessons.lesson(0, 16)
    across = truth.velocity - (truth.velocity * truth.up).sum(-1, keepdim=True) * truth.up
    assert 0.7 < across.norm(dim=-1).median() < 1.8
    assert (truth.velocity * truth.up).sum(-1).abs().median() < 0.2


def test_the_truth_costs_nothing_but_doubt(lessons):
    _, truth = lessons.lesson(0, 3)
    net = TemporalNet(32)
    told = net(lessons.lesson(0, 3)[0])
    right = replace(told, rotations=truth.turned, landmarks=truth.landmarks, velocity=truth.velocity, up=truth.up,
                    contacts=40 * (truth.contacts - 0.5))  # fmt: skip
    parts = costs(right, truth)
    assert set(parts) == set(WEIGHTS)
    for name in ("joint", "place", "walk", "up", "contact"):
        assert float(parts[name].detach()) < 1e-3, name
    assert float(parts["turn"].detach()) < 2e-3
    for name, v in costs(told, truth).items():
        assert name == "sure" or float(v.detach()) > 2 * float(parts[name].detach())


def test_bones_are_chained_and_angles_are_angles():
    eye = torch.eye(3).expand(1, 1, 22, 3, 3)
    bones = torch.zeros(1, 22, 3)
    bones[:, [JOINT["left_hip"], JOINT["left_knee"], JOINT["left_ankle"]]] = torch.tensor([0.0, -0.4, 0])
    places = chained(eye, bones)[0, 0]
    assert places[JOINT["left_ankle"], 1] == pytest.approx(-1.2)
    assert places[JOINT["right_ankle"]].abs().max() == 0
    half = torch.diag(torch.tensor([1.0, -1, -1]))
    turn = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    assert float(angle(torch.eye(3), turn)) == pytest.approx(np.pi / 2, abs=1e-3)
    assert float(angle(torch.eye(3), half)) == pytest.approx(np.pi, abs=5e-3)


@pytest.fixture
def small(monkeypatch, lessons):
    """Short steps, so that a training takes seconds."""
    monkeypatch.setattr(stage, "SimulatedLocalizer", lambda: lessons.localizer)
    monkeypatch.setattr(stage, "BATCH", 4)
    monkeypatch.setattr(stage, "POOL", 2)
    monkeypatch.setattr(stage, "_LOG", 5)
    return Plan(rounds=6, seed=2, rate=2e-3, width=32)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    with safe_open(checkpoint.checkpoints(folder)[-1], framework="pt") as f:
        return {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118


def test_stopping_and_going_on_equals_going_on(motion, small, tmp_path, monkeypatch):
    assert learn(tmp_path / "whole", motion, small)
    told = []
    real, left = stage._step, [3]

    def three(run, *lesson):
        real(run, *lesson)
        left[0] -= 1
        if not left[0]:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(stage, "_step", three)
    assert not learn(tmp_path / "parts", motion, small)
    with pytest.raises(JobError, match="--resume"):
        learn(tmp_path / "parts", motion, small)
    with pytest.raises(JobError, match="--seed 2"):
        learn(tmp_path / "parts", motion, replace(small, seed=1), resume=True)
    assert learn(tmp_path / "parts", motion, small, resume=True, tell=lambda *a: told.append(a))
    a, b = tensors(tmp_path / "whole"), tensors(tmp_path / "parts")
    assert set(a) == set(b)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert told[0][1] == 5
    (line,) = map(json.loads, (tmp_path / "whole" / "log.jsonl").read_text().splitlines())
    assert line["step"] == 5 and line["joint"] > 0
    assert checkpoint.load(checkpoint.checkpoints(tmp_path / "parts")[-1], {"width": 32})[0].step == 6


def test_a_few_steps_lower_the_cost(lessons):
    torch.manual_seed(0)
    net = TemporalNet(64)
    state = checkpoint.State({}, {})
    average = {k: v.clone() for k, v in net.state_dict().items()}
    run = stage._Run(net, torch.optim.AdamW(net.parameters(), 3e-3), average, state)
    lesson = lessons.lesson(9, 8)

    def cost() -> float:
        with torch.no_grad():
            return float(sum(WEIGHTS[k] * v for k, v in costs(net(lesson[0]), lesson[1]).items()))

    before = cost()
    for _ in range(25):
        stage._step(run, *lesson)
    assert cost() < 0.8 * before
    assert state.step == 25 and state.seen == 200


def test_what_is_exported_runs(motion, small, tmp_path):
    small = replace(small, width=Plan.width)
    learn(tmp_path, motion, replace(small, rounds=2))
    export(tmp_path, tmp_path / "w.safetensors")
    with safe_open(tmp_path / "w.safetensors", framework="pt") as f:
        assert f.metadata()["format"] == stage.FORMAT
        assert json.loads(f.metadata()["card"])["step"] == 2
        assert {f.get_tensor(k).dtype for k in f.keys()} == {torch.float16}  # noqa: SIM118
    net = TemporalModel(tmp_path / "w.safetensors").net
    for k, v in net.state_dict().items():
        torch.testing.assert_close(v, tensors(tmp_path)[f"ema.{k}"].half().float())
    learn(tmp_path / "more", motion, replace(small, rounds=1), start=tmp_path / "w.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(JobError, match="holds no weights"):
        learn(tmp_path / "other", motion, small, start=tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        (["OUT"], "give --motion"),
        (["OUT", "--motion", "nothing.npz"], "no file nothing.npz"),
        (["FILE", "--motion", "FILE"], "is no folder"),
        (["OUT", "--motion", "FILE", "--minutes", "1", "--rounds", "1"], "one of the two"),
        (["OUT", "--motion", "FILE", "--rounds", "-1"], "'rounds' must be more than 0"),
        (["OUT", "--motion", "FILE", "--rounds", "1"], "cannot be used as motion"),
        (["OUT", "--export", "w.pt"], ".safetensors"),
        (["OUT", "--export", "w.safetensors"], "holds no checkpoint"),
    ],
)
def test_mistakes_end_in_one_sentence(asked, word, tmp_path):
    app = typer.Typer()
    app.command()(train_motion)
    (tmp_path / "file").write_text("no motion")
    places = {"OUT": str(tmp_path / "out"), "FILE": str(tmp_path / "file")}
    ran = CliRunner().invoke(app, [places.get(a, a) for a in asked])
    assert ran.exit_code == 1
    assert word in ran.stderr and len(ran.stderr.strip().splitlines()) == 1
