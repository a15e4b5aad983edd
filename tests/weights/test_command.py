"""`python -m backend weights` and what doctor says of installed weights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backend.commands import doctor
from backend.commands import weights as command
from backend.localizers.nlf.weights import installed

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
NAME = "nlf-s-0.2.2"


@pytest.fixture
def user(release, home, monkeypatch):
    """A user whose home is `home`."""
    monkeypatch.setenv("BODYFIELD_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "160")
    return home


@pytest.fixture
def owner(release, user):
    """A user who has installed the release."""
    shutil.copytree(release.info.folder, user / "weights" / NAME)
    return user


def call(capsys, *arguments: str, name: str | None = None) -> tuple[int, str, str]:
    """Exit code, output and errors of the command in this process."""
    action, *items = arguments
    code = 0
    try:
        command.weights(command.Action(action), list(items), name)
    except command.typer.Exit as stop:
        code = stop.exit_code
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_whole_way_as_a_user_types_it(release, user, tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "BODYFIELD_HOME": str(user)}
        return subprocess.run(
            [sys.executable, "-m", "backend", *arguments],
            cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip

    done = run("weights", "add", str(release.file), "--name", "mine")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "mine: NLF-S from nlf_s_multi_0.2.2.torchscript, 70 MB."
    assert lines[1].startswith("NLF weights: non-commercial") and lines[2] == "Use it with --localizer mine."
    assert done.stderr.splitlines() == [
        "Making triangles for the SMPL-X body in the file: once, for up to a minute.",
        "The SMPL-X body in the file is left out: its vertices are not those of a person.",
    ]
    assert [i.name for i in installed(user)] == ["mine"]

    (tmp_path / "text.torchscript").write_text("hello")
    done = run("weights", "add", str(tmp_path / "text.torchscript"))
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.strip() == (
        f"{tmp_path / 'text.torchscript'} cannot be used as weights: "
        "it is not a file that torch wrote (they are zip archives)."
    )


def test_list(owner, capsys):
    code, out, err = call(capsys, "list")
    assert code == 0 and err == ""
    row = next(line for line in out.splitlines() if NAME in line)
    assert all(
        word in row for word in ("NLF-S", "70 MB", "nlf_s_multi_0.2.2.torchscript", "smpl, smplx", " 4 ")
    )
    assert out.splitlines()[-1].startswith("NLF weights: non-commercial research use")


def test_list_of_nothing_and_of_broken_ones(user, owner, capsys):
    (owner / "weights" / NAME / "model.safetensors").unlink()
    code, out, err = call(capsys, "list")
    assert code == 0 and out == "" and "are damaged (its model.safetensors is missing)" in err
    shutil.rmtree(user / "weights")
    code, out, err = call(capsys, "list")
    assert code == 0 and "No weights are installed" in out and err == ""


def test_remove(owner, capsys):
    code, out, _ = call(capsys, "remove", NAME)
    assert code == 0 and out == f"{NAME} is removed.\n" and installed(owner) == []
    code, _, err = call(capsys, "remove", NAME)
    assert code == 1 and f"There are no weights called '{NAME}'" in err


def test_add_again_says_so(owner, release, capsys):
    code, out, err = call(capsys, "add", str(release.file))
    assert code == 0 and f"installed already, as {NAME}" in err and out.startswith(f"{NAME}: NLF-S")


@pytest.mark.parametrize(
    ("arguments", "name", "text"),
    [
        (("add",), None, "Say which file to add"),
        (("remove",), None, "Say which weights to remove"),
        (("list", "x"), None, "takes no names"),
        (("list",), "x", "--name belongs to 'weights add'"),
        (("add", "x"), "[red]/x", "Weights cannot be called '[red]/x'"),
    ],
)
def test_wrong_arguments(user, capsys, arguments, name, text):
    code, out, err = call(capsys, *arguments, name=name)
    assert code == 1 and out == "" and text in err


def test_doctor_lists_weights_and_licences(owner):
    report = doctor.examine()
    assert json.loads(json.dumps([vars(w) for w in report.weights])) == [
        {
            "name": NAME,
            "model": "NLF-S",
            "bytes": installed(owner)[0].bytes,
            "source": "nlf_s_multi_0.2.2.torchscript",
            "licence": installed(owner)[0].licence,
            "skeletons": 4,
            "bodies": ["smpl", "smplx"],
        }
    ]
    line = next(x for x in doctor.in_words(report).splitlines() if x.startswith("Weights"))
    assert line.startswith(
        f"Weights {NAME}: NLF-S, 70 MB from nlf_s_multi_0.2.2.torchscript, 4 skeletons (NLF weights:"
    )
    assert report.missing == []


def test_doctor_says_which_weights_are_broken(owner):
    path = owner / "weights" / NAME / "body_smplx.safetensors"
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    report = doctor.examine()
    assert report.weights == [] and len(report.missing) == 1
    assert "are damaged (its body_smplx.safetensors was changed)" in report.missing[0]
    assert report.missing[0] in doctor.in_words(report)


def test_doctor_without_weights(user):
    report = doctor.examine()
    assert report.weights == [] and report.missing == []
    assert "Weights: no official NLF weights are installed" in doctor.in_words(report)
