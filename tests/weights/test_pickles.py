"""The pickle machine: what it understands, what it refuses, and that it never runs or hangs."""

from __future__ import annotations

import collections
import os
import pickle
import struct
import time

import numpy as np
import pytest

from backend.files.pickles.inert import ArrayRef, Global, Record, Refusal
from backend.files.pickles.machine import MAX_BYTES, MAX_OPERATIONS, read_pickle


def plain(value):
    """Inert data as Python's own."""
    if isinstance(value, ArrayRef):
        return value.values()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(v) for v in value)
    return value


PLAIN = {
    "none": None,
    "truths": [True, False],
    "numbers": [0, -1, 255, 65536, -(2**31), 2**40, -(2**63), 1.5, float("inf")],
    "texts": ["", "a", "é" * 300, "x" * 70000],
    "bytes": [b"", b"abc", bytes(range(256)) * 2],
    "nest": {"a": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)], 3: {None: []}},
    "ordered": collections.OrderedDict([("b", 1), ("a", 2)]),
    "default": collections.defaultdict(list, {"a": [1]}),
    "array": np.arange(12, dtype=np.int32).reshape(3, 4).T,
    "scalar": np.float64(2.5),
    "words": np.array(["left", "right"]),
    "objects": np.array(["a", 1, None], object),
    "truth array": np.array([[True], [False]]),
    "big endian": np.arange(3, dtype=">f8"),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", PLAIN)
def test_plain_data(name, protocol):
    value = PLAIN[name]
    want = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
    assert plain(read_pickle(pickle.dumps(value, protocol))) == want


def test_shared_and_recursive_parts_stay_shared():
    shared = [1]
    loop = {"a": shared, "b": shared}
    loop["self"] = loop
    got = read_pickle(pickle.dumps(loop))
    assert got["a"] is got["b"] and got["self"] is got


def test_sets_are_lists():
    assert (
        sorted(read_pickle(pickle.dumps({3, 1})))
        == [1, 3]
        == sorted(read_pickle(pickle.dumps(frozenset({3, 1}))))
    )


class Thing:
    """Becomes an object of a package that is not installed."""

    def __init__(self):
        self.names = ["a"]


Thing.__module__ = "some.where"


def test_objects_of_foreign_packages_are_records_only_where_allowed(monkeypatch):
    import sys
    import types

    module = types.ModuleType("some.where")
    module.Thing = Thing
    monkeypatch.setitem(sys.modules, "some", types.ModuleType("some"))
    monkeypatch.setitem(sys.modules, "some.where", module)
    for protocol in range(6):
        data = pickle.dumps(Thing(), protocol)
        found = read_pickle(data, foreign=True)
        assert (
            isinstance(found, Record)
            and found.cls == "some.where.Thing"
            and found.attributes == {"names": ["a"]}
        )
        with pytest.raises(Refusal, match=r"some\.where\.Thing"):
            read_pickle(data)


def attack(function, arguments):
    class Attack:
        def __reduce__(self):
            return function, arguments

    return Attack()


def attacks(mark: str):
    """Pickles that would create the file `mark` when loaded."""
    write = f"open({mark!r}, 'w').close()"
    touch = f'"{__import__("sys").executable}" -c "{write}"'
    yield "eval", pickle.dumps(attack(eval, (write,)))
    yield "exec", pickle.dumps(attack(exec, (write,)))
    yield "os.system", pickle.dumps(attack(os.system, (touch,)))
    yield "nested", pickle.dumps({"state": [{"weight": attack(exec, (write,))}]})
    yield "popen", pickle.dumps(attack(__import__("subprocess").Popen, ([touch],)))
    yield "open", pickle.dumps(attack(open, (mark, "w")))
    yield "protocol 0", pickle.dumps(attack(exec, (write,)), 0)
    code = b"(" + b"X" + struct.pack("<I", len(write)) + write.encode()
    yield "INST", code + b"ibuiltins\nexec\n."
    yield "OBJ", b"(cbuiltins\nexec\n" + code[1:] + b"o."
    yield "NEWOBJ", b"\x80\x02cbuiltins\nexec\n" + code + b"t\x81."
    yield "NEWOBJ_EX", b"\x80\x04cbuiltins\nexec\n" + code + b"t}\x92."
    yield "stack global", b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93" + code + b"tR."
    yield (
        "getattr",
        b"\x80\x02cbuiltins\ngetattr\n(cbuiltins\nexec\nX\x08\x00\x00\x00__call__tR" + code + b"tR.",
    )
    yield "BUILD on a class", b"\x80\x02cos\nsystem\n}X\x01\x00\x00\x00aK\x01sb."
    yield "BUILD with state", b"\x80\x02cposix\nsystem\n)\x81}X\x0c\x00\x00\x00__setstate__cos\nsystem\nsb."
    yield "reconstructor", b"ccopy_reg\n_reconstructor\n(cbuiltins\nexec\ncbuiltins\nobject\nNtR."
    yield "import by name", b"\x80\x02cimportlib\nimport_module\n(X\x02\x00\x00\x00ostR."
    yield "numpy", b"\x80\x02cnumpy.testing._private.utils\nrunstring\n" + code + b"}tR."
    yield "torch", b"\x80\x02ctorch.hub\nload\n(X\x01\x00\x00\x00xtR."
    yield "own helper", b"\x80\x02ctorch.jit._pickle\nbuild_tensor_from_id\n(K\x00tR."
    yield "pickle in pickle", pickle.dumps(attack(pickle.loads, (pickle.dumps(attack(exec, (write,))),)))


@pytest.mark.parametrize("foreign", [False, True])
def test_nothing_that_could_run_is_run(tmp_path, foreign):
    mark = tmp_path / "ran"
    count = 0
    for name, data in attacks(str(mark)):
        with pytest.raises(Refusal, match=r"which could run code; nothing was run$") as caught:
            read_pickle(data, foreign=foreign)
        assert not mark.exists(), name
        assert any(word in str(caught.value) for word in _NAMES), (name, str(caught.value))
        count += 1
    assert count > 18
    # The same bytes do run in an ordinary unpickler: the attacks are real.
    pickle.loads(dict(attacks(str(mark)))["INST"])
    assert mark.exists()


_NAMES = (
    "eval", "exec", "system", "Popen", "open", "getattr", "import_module", "runstring", "torch.hub.load",
    "build_tensor_from_id", "loads",
)  # fmt: skip


def test_a_class_that_is_only_mentioned_is_no_danger():
    assert read_pickle(pickle.dumps({"kind": os.system}, 2))["kind"] == Global(os.system.__module__, "system")


BOMBS = {
    "deep lists": b"\x80\x02" + b"(" * 400_000 + b"l" * 400_000 + b".",
    "deep tuples": b"\x80\x02)" + b"\x85" * 500_000 + b".",
    "deep dictionaries": b"\x80\x02}" + b"X\x01\x00\x00\x00a}" * 300_000 + b"s" * 300_000 + b".",
    "laughing tuples": b"\x80\x02K\x01" + b"2\x86" * 200_000 + b".",
    "laughing keys": b"\x80\x02}K\x01" + b"2\x86" * 60 + b"K\x01s.",
    "memo": b"\x80\x02" + b"".join(b"Nr" + struct.pack("<I", i * 977) + b"0" for i in range(200_000)) + b"N.",
    "memo index": b"\x80\x02Np99999999999999999999\n.",
    "long integer": b"\x80\x02\x8b" + struct.pack("<i", 30_000_000) + b"\x7f" * 30_000_000 + b".",
    "long text integer": b"I" + b"9" * 100_000 + b"\n.",
    "long claim": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "text claim": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"a.",
    "bytes claim": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"a.",
    "many steps": b"\x80\x02" + b"N0" * (MAX_OPERATIONS // 2 + 10) + b"N.",
    "too large": b"\x80\x02" + b"N" * MAX_BYTES + b".",
    "empty": b"",
    "no end": b"\x80\x02N",
    "underflow": b"\x80\x02.",
    "below the mark": b"\x80\x02N(\x85.",
    "unknown opcode": b"\x80\x02\xff.",
    "extension": b"\x80\x02\x82\x01.",
    "buffer": b"\x80\x05\x97.",
    "no mark": b"\x80\x02Nt.",
    "unknown memory": b"\x80\x02h\x07.",
    "odd dictionary": b"\x80\x02(Nd.",
    "list as key": b"\x80\x02}]Ns.",
    "not a dictionary": b"\x80\x02NNNs.",
    "text": b"hello world",
}
DONE = {"deep lists", "deep tuples", "deep dictionaries", "laughing tuples", "memo"}
"""Bombs that are only large: they are read like anything else, within the bounds."""


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_end_soon(name):
    start = time.process_time()
    if name in DONE:
        found = read_pickle(BOMBS[name])
        del found  # taking it apart must not overflow the stack either
    else:
        with pytest.raises(Refusal):
            read_pickle(BOMBS[name])
    assert time.process_time() - start < 30


def test_large_integers_are_refused_but_not_those_of_64_bits():
    assert read_pickle(pickle.dumps(2**63 - 1)) == 2**63 - 1
    with pytest.raises(Refusal, match="more than 64 bits"):
        read_pickle(pickle.dumps(2**63))


def test_names_from_the_file_are_made_harmless():
    with pytest.raises(Refusal) as caught:
        read_pickle(b"\x80\x02c" + b"\x1b]0;evil\x07" * 30 + b"\nx\n)R.")
    assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 200
