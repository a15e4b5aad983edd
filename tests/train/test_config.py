"""Recipes: the shipped one is sound, and every mistake gets one sentence that names the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.errors import JobError
from backend.train.config import Recipe, read_recipe

SHIPPED = Path(__file__).parents[2] / "backend" / "train" / "configs" / "field.toml"


def read(tmp_path: Path, text: str) -> Recipe:
    file = tmp_path / "r.toml"
    file.write_text(text, encoding="utf-8")
    return read_recipe(file)


DATA = '[data.synthetic]\nshards = ["x"]\n'


def test_shipped_recipe_is_read():
    recipe = read_recipe(SHIPPED)
    assert recipe.optim.steps >= 1000
    assert recipe.lifting.steps


def test_values_arrive(tmp_path):
    recipe = read(tmp_path, DATA + "shake.roll = 5\n[optim]\nlr = 1\n[model]\ntrunk = 'heavy'\n")
    assert recipe.data.synthetic.shards == ("x",)
    assert recipe.data.synthetic.shake.roll == 5.0
    assert isinstance(recipe.optim.lr, float)
    assert recipe.model.trunk == "heavy"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[optim", "is not valid TOML"),
        (DATA + "[optim]\nspeed = 3", "there is no 'optim.speed'; known are"),
        (DATA + "[optim]\nsteps = 2.5", "optim.steps must be a whole number, not 2.5"),
        (DATA + "[optim]\nsteps = true", "optim.steps must be a whole number"),
        (DATA + "[optim]\nfreeze = 'half'", "optim.freeze must be one of"),
        (DATA + "[model]\ntrunk = 'lite'", "model.trunk must be one of full, heavy"),
        (DATA + "[model]\ngrid = 8", "model.grid must be 16 or 32"),
        (DATA + "[data.real]\nshare = 0.5", "shares of data must add up to 1"),
        (
            "[data.synthetic]\nshare = 0.5\nshards=['x']\n[data.real]\nshare = 0.5",
            "data.real.shards must name folders",
        ),
        ("[data.synthetic]\nshards = 'x'", "data.synthetic.shards must be a list of text"),
        ("[data]\nsynthetic = 3", "data.synthetic must be a table"),
        ("", "data.synthetic needs folders"),
        (DATA + "[lifting]\nsteps = 3", "lifting.motion must name a file"),
        (DATA + "[run]\nprecision = 'fp8'", "run.precision must be fp32 or bf16"),
    ],
)
def test_mistakes(tmp_path, text, said):
    with pytest.raises(JobError, match=r"^[^\n]*$") as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert caught.value.code == "bad_config"
    assert str(caught.value).startswith("r.toml")


def test_no_file(tmp_path):
    with pytest.raises(JobError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")
