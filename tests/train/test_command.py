"""`python -m backend train` from recipe to calibrated weights, and what it says when something is missing."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from backend.commands.train import train
from backend.localizers.field.file import read_field

RECIPE = """
[model]
width = 32
layers = 1
blocks = 1
frequencies = 24
hidden = 48
code = 16
lift = 32
[data]
points = 80
[data.synthetic]
shards = ["{shards}"]
[optim]
steps = 2
batch = 2
freeze = "all"
[run]
device = "cpu"
workers = 0
log = 1
"""


@pytest.fixture
def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(train)
    return app


@pytest.mark.slow
def test_from_recipe_to_calibrated_weights(command, shards, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(RECIPE.format(shards=shards.as_posix()), encoding="utf-8")
    asked = ["--config", str(recipe), "--out", str(tmp_path / "out")]
    ran = CliRunner().invoke(command, [*asked, "--known", str(shards)])
    assert ran.exit_code == 0, ran.output
    figures = json.loads(ran.stdout.splitlines()[0])
    assert figures["factor"] > 0 or figures["offset_m"] > 0
    model, card = read_field(tmp_path / "out" / "field.safetensors")
    assert float(model.sigma[0]) == pytest.approx(figures["factor"], rel=1e-5)
    assert card["step"] == 2
    assert card["recipe"]["optim"]["batch"] == 2
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert any("held_out/pve" in line for line in lines)
    again = CliRunner().invoke(command, asked)
    assert again.exit_code == 1
    assert "--resume" in again.stderr
    (tmp_path / "out" / "field.safetensors").unlink()
    assert CliRunner().invoke(command, [*asked, "--export"]).exit_code == 0
    model, _ = read_field(tmp_path / "out" / "field.safetensors")
    assert model.sigma.tolist() == [1, 0]


@pytest.mark.slow
def test_mistakes_end_in_one_sentence(command, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(RECIPE.format(shards=(tmp_path / "none").as_posix()), encoding="utf-8")
    for extra in ([], ["--export"]):
        ran = CliRunner().invoke(command, ["--config", str(recipe), "--out", str(tmp_path / "o"), *extra])
        assert ran.exit_code == 1
        assert len(ran.stderr.strip().splitlines()) == 1
