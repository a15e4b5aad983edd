"""Whatever is done to an archive's bytes: it is read, or refused with a sentence, and nothing else."""

from __future__ import annotations

import contextlib
import io
import pickle
import string
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from backend.errors import JobError
from backend.files.pickles.inert import Refusal
from backend.files.pickles.machine import read_pickle
from backend.localizers.nlf.weights import add
from backend.localizers.nlf.weights.archive import Archive, TorchArchive
from backend.localizers.nlf.weights.datafiles import read_data_files
from backend.localizers.nlf.weights.official import recognise
from backend.localizers.nlf.weights.tree import tensors

from .release import Recipe, data_members, make_torchscript, make_zip, release_tensors, thin

pytestmark = pytest.mark.slow

FAST = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
SLOW = settings(FAST, max_examples=25)


def changes(length: int):
    """Places and new bytes, and where to cut; mostly few."""
    flips = st.lists(st.tuples(st.integers(0, length - 1), st.integers(0, 255)), max_size=8)
    return st.tuples(flips, st.one_of(st.none(), st.integers(0, length)))


def changed(data: bytes, change) -> bytes:
    flips, cut = change
    out = bytearray(data)
    for at, value in flips:
        out[at] = value
    return bytes(out[:cut])


def small() -> bytes:
    file = io.BytesIO()
    torch.save({"a": torch.arange(6.0).reshape(2, 3).T, "b": {"c": torch.ones(2).half()}}, file)
    return file.getvalue()


SMALL = small()
ROOT = zipfile.ZipFile(io.BytesIO(SMALL)).read("archive/data.pkl")


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """Members of a light TorchScript of NLF-S."""
    path = make_torchscript(tmp_path_factory.mktemp("f") / "x.torchscript", Recipe(thin(release_tensors())))
    with zipfile.ZipFile(path) as archive:
        return {n.split("/", 1)[1]: archive.read(n) for n in archive.namelist()}


@FAST
@given(change=changes(len(SMALL)))
def test_bytes_of_an_archive(tmp_path, change):
    """Headers, table of contents, pickle and numbers alike."""
    path = tmp_path / "x.pt"
    path.write_bytes(changed(SMALL, change))
    try:
        with Archive(path) as archive:
            reader = TorchArchive(archive)
            for ref in tensors(reader.root).values():
                assert reader.load(ref).shape == ref.shape
    except Refusal:
        pass


@FAST
@given(change=changes(len(SMALL)))
def test_bytes_of_an_archive_through_add(tmp_path, change):
    path = tmp_path / "x.pt"
    path.write_bytes(changed(SMALL, change))
    with pytest.raises(JobError) as caught:
        add([path], tmp_path / "home")
    text = str(caught.value)
    assert (
        text.startswith(f"{path} cannot be used as weights: ") and text.endswith(".") and text.isprintable()
    )


@FAST
@given(change=changes(len(ROOT)), foreign=st.booleans())
def test_bytes_of_a_pickle_with_sound_checksums(tmp_path, change, foreign):
    """A zip file's checksums catch most changes; here they are right."""
    data = changed(ROOT, change)
    with contextlib.suppress(Refusal):
        read_pickle(data, foreign)
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", data)
        for key in "01":
            archive.writestr(f"x/data/{key}", bytes(24))
    try:
        with Archive(tmp_path / "x.pt") as archive:
            reader = TorchArchive(archive)
            for ref in tensors(reader.root).values():
                reader.load(ref)
    except Refusal:
        pass


OPCODES = b"(.0123FIJKLMNPQRSTUVXabcdeghilopqrstu}]()" + bytes(range(0x80, 0x99))
WORDS = [
    *(b"c" + room + b"\n" + name + b"\n" for room, name in (
        (b"torch._utils", b"_rebuild_tensor_v2"), (b"torch._utils", b"_rebuild_tensor_v3"), (b"torch", b"FloatStorage"),
        (b"collections", b"OrderedDict"), (b"numpy", b"dtype"), (b"numpy.core.multiarray", b"_reconstruct"),
        (b"numpy.core.multiarray", b"scalar"), (b"copyreg", b"_reconstructor"), (b"_codecs", b"encode"),
        (b"__torch__", b"M"), (b"torch", b"Size"), (b"builtins", b"set"),
    )),
    b"X\x07\x00\x00\x00storage", b"X\x01\x00\x00\x00a", b"K\x01", b"K\x03", b"\x88", b"}", b"]", b")",
    b"(", b"t", b"R",
    b"b", b"Q", b"\x81", b"u", b"s", b"e", b"q\x01", b"h\x01", b"2", b"0", b"\x85", b"\x86", b"\x87", b"N",
    b"G" + bytes(8),
]  # fmt: skip


@settings(FAST, max_examples=600)
@given(words=st.lists(st.sampled_from(WORDS), max_size=40), foreign=st.booleans())
def test_programs_of_known_words(words, foreign):
    """Any order of the words that real pickles use."""
    with contextlib.suppress(Refusal):
        read_pickle(b"\x80\x02" + b"".join(words) + b".", foreign)


@FAST
@given(program=st.lists(st.sampled_from(list(OPCODES)), max_size=60))
def test_programs_of_opcodes(program):
    with contextlib.suppress(Refusal):
        read_pickle(bytes(program) + b".")


@SLOW
@given(data=st.data())
def test_a_release_whose_description_was_changed(tmp_path, script, data):
    pkl = script["data.pkl"]
    members = script | {"data.pkl": changed(pkl, data.draw(changes(len(pkl))))}
    with zipfile.ZipFile(tmp_path / "x.torchscript", "w") as archive:
        for name, content in members.items():
            archive.writestr(f"x/{name}", content)
    try:
        with Archive(tmp_path / "x.torchscript") as archive:
            recognise(TorchArchive(archive))
    except Refusal:
        pass


@SLOW
@given(data=st.data())
def test_data_files_that_were_changed(tmp_path, data):
    members = data_members()
    name = data.draw(st.sampled_from(sorted(members)))
    # The heads of arrays and all of small pickles: most of the rest is plain numbers.
    reach = min(len(members[name]), 400)
    members[name] = changed(members[name][:reach], data.draw(changes(reach))) + members[name][reach:]
    try:
        with Archive(make_zip(tmp_path / "d.zip", members)) as archive:
            read_data_files(archive)
    except Refusal:
        pass


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(), st.binary()
    ),
    lambda inner: st.one_of(
        st.lists(inner), st.tuples(inner, inner), st.dictionaries(st.text(string.ascii_letters), inner)
    ),
    max_leaves=30,
)


@FAST
@given(value=VALUES, protocol=st.integers(0, 5))
def test_every_plain_value_survives(value, protocol):
    assume(value == value)
    data = pickle.dumps(value, protocol)
    # Not as pickles: those tell, too, which of equal parts are one and the same object.
    assert repr(read_pickle(data)) == repr(pickle.loads(data))
