"""Installing, listing and removing: whole or not at all, once, and damage is noticed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from backend.errors import JobError
from backend.localizers.nlf.weights import add, convert, installed, open_weights, remove, store, survey

from .release import Recipe, data_members, make_torchscript, make_zip, release_tensors, thin

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def light(path: Path, value: float = 0.5, **recipe) -> Path:
    """An archive of a few kilobytes whose model is told from others by `value`."""
    tensors = {**thin(release_tensors()), "canonical_centers": torch.full((), value).expand(147, 2)}
    good = {n: release_tensors()[n] for n in release_tensors() if "gps_net.m" in n or "permutation" in n}
    tensors |= {n: t for n, t in good.items() if t.numel() < 1000}
    return make_torchscript(path, Recipe(tensors, **recipe))


@pytest.fixture(scope="module")
def light_file(tmp_path_factory):
    return light(tmp_path_factory.mktemp("light") / "nlf_l_multi_0.3.2.patch4.torchscript")


@pytest.fixture(scope="module")
def ready(light_file, tmp_path_factory):
    """A home with light weights, to be copied."""
    home = tmp_path_factory.mktemp("ready")
    yield add([light_file], home)
    shutil.rmtree(home)


@pytest.fixture
def kept(ready, home):
    """Light weights, installed in `home`."""
    return store.read_info(shutil.copytree(ready.folder, home / "weights" / ready.name))


def leftovers(home: Path) -> list[str]:
    return [p.name for p in (home / "weights").iterdir() if p.name.startswith(".")] if home.exists() else []


def test_name_comes_from_content_and_version(kept, home):
    """The size is that of the tensors, whatever the file is called."""
    assert kept.name == "nlf-s-0.3.2.patch4" and kept.size == "s"
    assert installed(home) == [kept] and not leftovers(home)
    assert kept.folder == home / "weights" / kept.name


def test_the_same_again_is_not_installed_twice(kept, light_file, home, tmp_path):
    copy = tmp_path / "copy.bin"
    shutil.copy(light_file, copy)
    for file, name in ((light_file, None), (copy, None), (copy, "mine")):
        notes = []
        assert add([file], home, name, notes.append) == kept
        assert notes[0] == "These weights are installed already, as nlf-s-0.3.2.patch4."
    assert installed(home) == [kept] and not leftovers(home)


def test_another_content_gets_another_name(kept, home, tmp_path, light_file):
    other = light(tmp_path / "nlf_s_multi_0.3.2.patch4.torchscript", value=0.25)
    notes = []
    second = add([other], home, note=notes.append)
    assert second.name == f"{kept.name}-{second.sha256[:6]}" and second.sha256 != kept.sha256
    assert notes == [f"Other weights are called {kept.name}: these are called {second.name}."]
    assert installed(home) == [kept, second]
    third = add([light(tmp_path / "x.torchscript", value=0.125)], home, kept.name.upper())
    assert third.name == f"{kept.name.upper()}-{third.sha256[:6]}", (
        "names that some file systems take for the same"
    )


def test_flags_make_other_weights(kept, home, tmp_path):
    file = light(tmp_path / "nlf_s.torchscript", white=True, fixed=True)
    other = add([file], home)
    assert other.white and other.fix_uncert_factor and not kept.white and not kept.fix_uncert_factor
    assert other.sha256 == kept.sha256 and len(installed(home)) == 2
    assert open_weights(other.name, home).model().fix_uncert_factor


def test_data_files_added_later_complete_the_weights(kept, light_file, home, tmp_path):
    assert open_weights(kept.name, home).volume() is None
    data = make_zip(tmp_path / "nlf_data_files.zip", data_members())
    notes = []
    more = add([light_file, data], home, note=notes.append)
    assert more.name == kept.name and more.sha256 == kept.sha256 and installed(home) == [more]
    assert "they got joints.smpl, joints.smplx, vertices.smpl" in notes[0]
    assert len(open_weights(kept.name, home).volume().vertices) == 690
    assert add([light_file], home) == more, "the file alone takes nothing away"


GOOD = ("a", "nlf-l", "my_weights.v2", "X" * 64)
BAD = (
    "", ".", "..", "../x", "a/b", "a\\b", "/abs", ".hidden", "end.", "-x", "a b", "é", "con", "NUL.x", "lpt1",
    "landmarks-heavy", "Landmarks-mine", "auto", "x" * 65, "a..b", "a\n", "C:x",
)  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good_names(name):
    assert store.check_name(name) == name


@pytest.mark.parametrize("name", BAD)
def test_bad_names(light_file, home, name):
    with pytest.raises(JobError, match=r"^Weights cannot be called '.*': give a --name .*\.$") as caught:
        add([light_file], home, name)
    assert caught.value.code == "bad_options" and not home.exists()
    for function in (remove, open_weights):
        with pytest.raises(JobError, match="There are no weights called"):
            function(name, home)


def test_remove(kept, home):
    (kept.folder / "maps").mkdir()
    (kept.folder / "maps" / "x.npz").write_bytes(b"made later")
    with pytest.raises(JobError, match=r"no weights called 'nlf-x': installed are nlf-s-0\.3\.2\.patch4; "):
        remove("nlf-x", home)
    remove(kept.name, home)
    assert installed(home) == [] and list((home / "weights").iterdir()) == []
    with pytest.raises(JobError, match="none are installed"):
        open_weights(kept.name, home)


def flip(path: Path, at: int = -5) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def files_of(folder: Path) -> dict:
    return json.loads((folder / "info.json").read_text())["files"]


DAMAGES = {
    "no model": lambda f: (f / "model.safetensors").unlink(),
    "cut": lambda f: os.truncate(f / "model.safetensors", 1000),
    "flipped number": lambda f: flip(f / "model.safetensors"),
    "flipped header": lambda f: flip(f / "model.safetensors", 30),
    "no info": lambda f: (f / "info.json").unlink(),
    "no json": lambda f: (f / "info.json").write_text("{"),
    "deep json": lambda f: (f / "info.json").write_text("[" * 100_000),
    "list": lambda f: (f / "info.json").write_text("[]"),
    "other layout": lambda f: edit(f / "info.json", format=2),
    "other size": lambda f: edit(f / "info.json", size="xl"),
    "no truth": lambda f: edit(f / "info.json", white="yes"),
    "escape": lambda f: edit(f / "info.json", source="\x1b[31m"),
    "path": lambda f: edit(f / "info.json", files={**files_of(f), "../x": [0, ""]}),
    "skeletons": lambda f: (f / "skeletons.json").write_text("{}".ljust((f / "skeletons.json").stat().st_size)),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGES)
def test_damage_is_one_sentence(kept, home, case):
    DAMAGES[case](kept.folder)
    with pytest.raises(
        JobError, match=r"damaged \(.*\): run 'python -m backend weights remove nlf-s-0"
    ) as caught:
        open_weights(kept.name, home).model()
    assert caught.value.code == "bad_weights"
    whole, broken = survey(home, thorough=True)
    assert whole == [] and len(broken) == 1 and "nlf-s-0.3.2.patch4" in broken[0]
    remove(kept.name, home)
    assert survey(home) == ([], [])


def test_a_cut_file_is_noticed_without_reading_it_through(kept, home):
    os.truncate(kept.folder / "model.safetensors", 1000)
    whole, broken = survey(home)
    assert whole == [] and "its model.safetensors has 1000 bytes in place of" in broken[0]


def test_info_cannot_point_outside_of_its_folder(kept, home):
    outside = home / "weights" / "x"
    outside.write_bytes(b"")
    digest = store.file_digest(outside)
    edit(kept.folder / "info.json", files={**files_of(kept.folder), "../x": [0, digest]})
    assert survey(home, thorough=True)[0] == []


def test_wrong_model_under_a_right_digest(kept, home):
    """Somebody replaced the file and mended the digest."""
    from safetensors.torch import save_file

    path = kept.folder / "model.safetensors"
    save_file({"canonical_lefts": torch.zeros(360, 3), "canonical_centers": torch.zeros(147, 2)}, path)
    mended = {"model.safetensors": [path.stat().st_size, store.file_digest(path)]}
    edit(kept.folder / "info.json", files=files_of(kept.folder) | mended)
    with pytest.raises(JobError, match="does not hold NLF-S"):
        open_weights(kept.name, home).model()


@pytest.mark.parametrize("case", ["flipped number", "no info"])
def test_adding_again_mends(kept, light_file, home, case):
    DAMAGES[case](kept.folder)
    notes = []
    assert add([light_file], home, note=notes.append) == kept
    assert notes == [f"The damaged weights {kept.name} were replaced."]
    assert survey(home, thorough=True) == ([kept], []) and not leftovers(home)


def test_full_disk_is_noticed_before(light_file, home, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=50_000_000))
    with pytest.raises(
        JobError, match=r"The disk with .*weights is full: 8\d MB are needed and 50 MB are free"
    ) as caught:
        add([light_file], home)
    assert caught.value.code == "disk_full" and not leftovers(home)


def test_full_disk_on_the_way(light_file, home, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(JobError, match=r"The disk with .*weights is full: the weights did not fit") as caught:
        add([light_file], home)
    assert caught.value.code == "disk_full" and installed(home) == [] and not leftovers(home)


def test_folder_that_cannot_be_written(light_file, tmp_path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(JobError, match="The weights cannot be written to") as caught:
        add([light_file], tmp_path / "home")
    assert caught.value.code == "cannot_write"


def test_interrupted_by_the_user(light_file, home):
    def stop(done, _total):
        if done > 10e6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add([light_file], home, progress=stop)
    assert installed(home) == [] and not leftovers(home)


def test_killed_in_the_middle(light_file, home):
    """Nothing half done is listed, and the next call takes the rest away."""
    code = (
        "import os, sys; from pathlib import Path; from backend.localizers.nlf.weights import add\n"
        "add([Path(sys.argv[1])], Path(sys.argv[2]), progress=lambda done, _: done > 10e6 and os._exit(9))"
    )
    done = subprocess.run([sys.executable, "-c", code, light_file, home], cwd=ROOT, check=False)
    assert done.returncode == 9
    assert len(leftovers(home)) == 1 and survey(home) == ([], [])
    info = add([light_file], home)
    assert installed(home) == [info] and not leftovers(home)


def test_another_process_at_work_is_left_alone(light_file, home):
    busy = store.new_folder(home / "weights")
    add([light_file], home)
    assert busy.is_dir()


def test_a_note_may_be_left_out_and_the_default_home_is_used(light_file, home, monkeypatch):
    monkeypatch.setenv("BODYFIELD_HOME", str(home))
    assert add([light_file]).folder.parent == home / "weights" == convert.store.weights_folder()
