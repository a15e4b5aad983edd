"""Datasets in a recipe: read from TOML, mixed with the other streams, trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.errors import JobError
from backend.synth.motion import load_motion
from backend.train.config import Data, Real, Recipe, Synthetic, read_recipe
from backend.train.datasets.amass import clips, main
from backend.train.datasets.open import group_shares, open_source, turns
from backend.train.datasets.source import KINDS, Source
from backend.train.learner import Objective, build_model, freeze_parts, make_optimizer
from backend.train.loop import train
from backend.train.mix import MixedBatches, open_streams
from backend.train.streams.augment import Looks
from backend.train.streams.batch import Batch
from backend.train.streams.framing import Shake

from .test_fitted import AGORA_ROWS, agora_truth, data_frame, fit_of, paint, write_3dpw, write_emdb
from .test_keypoints import write_3dhp, write_coco, write_densepose, write_h36m, write_mpii

pytestmark = pytest.mark.slow


def write_amass(folder: Path) -> np.ndarray:
    """Two motions of 120 frames a second, one of a person lying in the older layout; a shape file that is none."""
    rng = np.random.default_rng(0)
    poses = rng.normal(0, 0.1, (36, 156))
    poses[:, :3] = [np.pi / 2, 0, 0]  # upright where z is up
    for place in ("CMU/01", "CMU/02", "KIT/3"):
        (folder / place).mkdir(parents=True)
    common = {"trans": np.zeros((36, 3)), "betas": np.zeros(16), "gender": np.array("male")}
    np.savez(folder / "CMU/01/01_01_poses.npz", poses=poses, mocap_framerate=120.0, **common)
    np.savez(folder / "CMU/02/02_01_poses.npz", poses=poses[:12], mocap_framerate=np.array([60.0]), **common)
    wide = np.concatenate([poses, np.zeros((36, 9))], 1)
    np.savez(folder / "KIT/3/walk__fast_stageii.npz", poses=wide, mocap_frame_rate=30, **common)
    np.savez(folder / "CMU/01/shape.npz", betas=np.zeros(16))
    return poses


def test_amass_becomes_motion(tmp_path, capsys):
    poses = write_amass(tmp_path / "a")
    found = dict(clips(tmp_path / "a"))
    assert {n: len(c) for n, c in found.items()} == {
        "CMU__01__01_01_poses": 3, "CMU__02__02_01_poses": 2, "KIT__3__walk_fast_stageii": 12,
    }  # fmt: skip
    first = found["CMU__01__01_01_poses"]
    assert np.allclose(first[:, 0], 0, atol=1e-6), "upright where y is up"
    assert np.allclose(first[1, 1:], poses[12, 3:66].reshape(21, 3), atol=1e-6)
    main(tmp_path / "a", tmp_path / "motion.npz", 30.0)
    assert capsys.readouterr().out == "3 clips, 51 frames\n"
    loaded = [load_motion(tmp_path / "motion.npz", s) for s in ("train",)]
    assert set(loaded[0].names) <= set(found)


def test_amass_is_drawn(tmp_path, body, pool):
    write_amass(tmp_path)
    plain = {"shake": Shake(), "looks": Looks(0, 0, 0, 0, 0, 0, 0)}
    stream = open_source(
        Source("amass", str(tmp_path), 1.0, name="mocap", **plain), body, pool, points=64, inside=0.3, seed=5
    )
    batch, again = stream.batch(3, 2), stream.batch(3, 2)
    assert batch.stream == "mocap" and batch.root == 0 and batch.absolute.all() and batch.valid3d.all()
    assert torch.equal(batch.images, again.images) and torch.equal(batch.points3d, again.points3d)
    assert batch.images.float().std() > 10
    xy = batch.points3d @ batch.K.mT
    assert (xy[..., :2] / xy[..., 2:] - batch.points2d).abs().max() < 0.1


def test_broken_motions_are_said(tmp_path, body, pool):
    for poses, rate, why in (
        (np.zeros((4, 30)), {"mocap_framerate": 30}, "fewer than 22 joints"),
        (np.zeros((4, 156)), {}, "no frame rate"),
        (np.zeros((4, 156)), {"mocap_framerate": 0}, "its frame rate is 0"),
        (np.full((4, 156), np.nan), {"mocap_framerate": 30}, "empty or not finite"),
    ):
        np.savez(tmp_path / "x.npz", poses=poses, **rate)
        with pytest.raises(JobError, match=f"cannot be used as a motion of AMASS: .*{why}"):
            list(clips(tmp_path))
    np.savez(tmp_path / "x.npz", betas=np.zeros(3))
    with pytest.raises(JobError, match="none of its files holds poses"):
        list(clips(tmp_path))


def test_turns_are_fair_and_whole():
    assert turns([0.875, 0.125], 8, 0) == turns([0.875, 0.125], 8, 77) == [7, 1]
    shares = [0.5, 0.3, 0.1, 0.06, 0.04]
    rows = np.array([turns(shares, 8, i) for i in range(2000)])
    assert (rows.sum(1) == 8).all() and rows.min() >= 0
    assert np.abs(rows.mean(0) / 8 - shares).max() < 1e-3
    assert (rows.max(0) - rows.min(0) <= 1).all()
    assert turns([0.2] * 5, 1, 4) in np.eye(5, dtype=int).tolist()


def test_streams_of_a_group_share_its_weight():
    def batch(name: str, n: int) -> Batch:
        return Batch(torch.zeros(n, 3, 4, 4), *[torch.zeros(n)] * 8, root=-1, stream=name)

    groups = {"a": "dense", "b": "dense", "c": "keypoints2d"}
    assert group_shares([batch("a", 1), batch("b", 3), batch("c", 2)], groups) == [0.25, 0.75, 1.0]


HEAD = "[data]\n[data.synthetic]\nshare = 0\n"
GOOD = '[[data.sources]]\nkind = "coco"\nfolder = "x"\nshare = 0.5\n'


def test_sources_are_read(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text(
        HEAD
        + GOOD
        + "shake.roll = 3\nhidden = true\n"
        + GOOD.replace('"coco"', '"3dpw"')
        + 'body = "b"\nweight = 2\nname="w"\n'
    )
    first, second = read_recipe(file).data.sources
    assert (first.label, first.group, first.in_loss, first.shake.roll, first.hidden) == (
        "coco",
        "keypoints2d",
        0.1,
        3.0,
        True,
    )
    assert (second.label, second.group, second.in_loss, second.body) == ("w", "parametric", 2.0, "b")
    assert json.dumps(read_recipe(file).describe())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + GOOD, "data.sources 2 (coco) has a name that is taken"),
        (GOOD.replace("coco", "lsp"), "the kind of data.sources 1 must be one of amass, agora"),
        (GOOD.replace('folder = "x"\n', ""), "data.sources 1 (coco) must name its folder"),
        (GOOD, "the shares of data must add up to 1"),
        (GOOD.replace("0.5", "-0.5"), "needs a share of each batch that is more than 0"),
        (GOOD + "weight = -1", "needs a weight that is not negative"),
        (GOOD + "every = 3", "data.sources 1 (coco) does not know every"),
        (GOOD + "fov = 0", "fov of data.sources 1 (coco) must lie between 1 and 170"),
        (GOOD + "speed = 3", "there is no 'data.sources 1.speed'; known are body"),
        (GOOD + "hidden = 1", "data.sources 1.hidden must be true or false, not 1"),
        (GOOD + 'name = "real"', "has a name that is taken"),
        (GOOD.replace("coco", "emdb"), "data.sources 1 (emdb) needs a body: name the folder of your licensed"),
        ("sources = 3", "data.sources must be a list of tables"),
        ("sources = [3]", "data.sources 1 must be a table"),
    ],
)  # fmt: skip
def test_mistakes_in_sources(tmp_path, text, said):
    file = tmp_path / "r.toml"
    head = "[data]\n" if text.startswith("sources") else HEAD
    file.write_text(head + text)
    with pytest.raises(JobError, match=r"^[^\n]*$") as caught:
        read_recipe(file)
    assert said in str(caught.value) and caught.value.code == "bad_config"


def every_dataset(folder: Path, body, pool, bodies: Path) -> tuple[Source, ...]:
    """All kinds, each with a person or two."""
    _, people = write_3dpw(folder / "3dpw", body, pool)
    for frame in (0, 2):
        _save(folder / f"3dpw/imageFiles/walk_00/image_{frame:05d}.jpg", paint(body, pool, people[0]))
    file, known = write_emdb(folder / "emdb", body)
    for frame in range(4):
        _save(file.parent / f"images/{frame:05d}.jpg", paint(body, pool, known))
    row = AGORA_ROWS | {"X": 700.0, "Y": 10.0, "Z": 175.0}
    name = "ag_trainset_3dpeople_bfh_hdri_50mm_5_10_00001.png"
    known, camera = agora_truth(body, name, row, (1280, 720))
    columns = {n: [[v]] for n, v in row.items()} | {"imgPath": [name], "gt_path_smplx": [["fit.obj"]]}
    columns |= {n: [0.0] for n in ("camX", "camY", "camZ", "camYaw")}
    for place, data in (("Cam/train_0.pkl", data_frame(columns)), ("GT_fits/fit.pkl", fit_of(known))):
        (folder / "agora" / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / "agora" / place).write_bytes(data)
    _save(
        folder / "agora/images" / name.replace(".png", "_1280x720.png"),
        paint(body, pool, known, camera, (1280, 720), 7),
    )
    for kind in ("coco", "mpii", "human36m", "mpi_inf_3dhp", "densepose", "amass"):
        (folder / kind).mkdir(parents=True)
    write_coco(folder / "coco", body, np.full(17, 2))
    write_mpii(folder / "mpii", body, np.ones(16, int))
    write_h36m(folder / "human36m", body)
    write_3dhp(folder / "mpi_inf_3dhp", body, False)
    write_densepose(folder / "densepose", body)
    write_amass(folder / "amass")
    kinds = [k for k in KINDS if k != "bedlam"]
    made = lambda k: Source(k, str(folder / k), 0.05, body=str(bodies) if KINDS[k].bodies else "")  # noqa: E731
    return tuple(made(k) for k in kinds)


def _save(path: Path, image: np.ndarray) -> None:
    from .makers import write_picture

    write_picture(path, image)


@pytest.mark.usefixtures("quick_map")
def test_all_of_them_train_one_model(tmp_path, body, pool, bodies, recipe, real_shards, shards, monkeypatch):
    monkeypatch.setattr("backend.train.mix.point_pool", lambda body: pool)
    sources = every_dataset(tmp_path / "data", body, pool, bodies)
    share = 1 - 0.1 - sum(s.share for s in sources)
    data = Data(points=80, synthetic=Synthetic(share=share, shards=(str(shards),)),
                real=Real(share=0.1, shards=(str(real_shards),)), sources=sources)  # fmt: skip
    recipe: Recipe = replace(recipe, data=data, optim=replace(recipe.optim, steps=3, batch=12, freeze="all"))
    assert train(recipe, tmp_path / "out") is not None
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    losses = {k: line[k] for line in lines for k in line if k.endswith("/loss")}
    assert {k.split("/")[0] for k in losses} == {"synthetic", "real", *(s.kind for s in sources)}
    assert np.isfinite(list(losses.values())).all()

    # The same pictures again and again: what all the streams say together can be learnt.
    batches = MixedBatches(recipe, 6, 100)[1]
    assert sum(len(b) for b in batches) == 6 and len(batches) > 2
    objective = Objective(build_model(recipe), recipe)
    freeze_parts(objective.model, recipe.optim)
    optimizer = make_optimizer(objective.model, replace(recipe.optim, lr=4e-3))
    totals = []
    for _ in range(8):
        total, _ = objective(batches, 10)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert np.isfinite(totals).all() and totals[-1] < totals[0]


@pytest.mark.usefixtures("quick_map")
def test_a_missing_licensed_body_is_said(tmp_path, body, pool, recipe, monkeypatch):
    monkeypatch.setattr("backend.train.mix.point_pool", lambda body: pool)
    write_emdb(tmp_path / "emdb", body)
    (tmp_path / "none").mkdir()
    source = Source("emdb", str(tmp_path / "emdb"), 1.0, body=str(tmp_path / "none"))
    data = Data(points=80, synthetic=Synthetic(share=0.0), sources=(source,))
    with pytest.raises(
        JobError, match=r"^emdb needs your own licensed SMPL body: put SMPL_NEUTRAL\.pkl into .*\.$"
    ):
        open_streams(replace(recipe, data=data))
