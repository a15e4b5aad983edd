"""The wire: what is packed comes back the same, without a copy, and nothing malformed gets through."""

import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from blender_addon.shared import wire

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,12}", fullmatch=True).filter(
    lambda n: n not in ("v", "type", "job", "seq", "arrays")
)
jobs = st.none() | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
anything = hnp.arrays(
    st.sampled_from([*wire.DTYPES, ">f4", ">i2"]),
    hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
)
fields = st.dictionaries(names, values, max_size=4)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(names, jobs, st.integers(0, 2**53 - 1), fields, st.dictionaries(names, anything, max_size=4))
def test_what_is_packed_comes_back(kind, job, seq, said, arrays):
    said = {k: v for k, v in said.items() if k not in ("self",)}
    buffers = wire.pack(kind, job, seq, arrays, **said)
    got = wire.unpack([bytes(b) for b in buffers])
    assert (got.type, got.job, got.seq) == (kind, job, seq)
    assert got.fields == said
    assert list(got.arrays) == list(arrays)
    for name, array in arrays.items():
        back = got.arrays[name]
        assert back.shape == array.shape and back.dtype.name == array.dtype.name
        assert back.tobytes() == np.asarray(array, array.dtype.newbyteorder("<"), order="C").tobytes()
        assert not back.flags.writeable


def test_neither_side_copies():
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    buffers = wire.pack("frame", "a", 1, {"image": image}, index=0)
    assert np.shares_memory(np.frombuffer(buffers[1], np.uint8), image)
    back = wire.unpack(buffers).arrays["image"]
    assert np.shares_memory(back, image)
    with pytest.raises(ValueError):
        back[0] = 0


def test_arrays_with_strides_are_sent_in_c_order():
    array = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    for view in (array.transpose(2, 0, 1), array[:, ::-1], array[..., 1], np.asfortranarray(array)):
        back = wire.unpack(wire.pack("body", arrays={"a": view})).arrays["a"]
        np.testing.assert_array_equal(back, view)


def _message(**changes) -> list[bytes]:
    header = {"v": wire.VERSION, "type": "frame", "job": "j1", "seq": 3, "index": 7}
    header["arrays"] = [{"name": "image", "dtype": "uint8", "shape": [2, 3]}]
    header.update(changes)
    return [json.dumps({k: v for k, v in header.items() if v is not ...}).encode(), b"abcdef"]


def test_the_plain_message_of_these_tests_is_good():
    assert wire.unpack(_message()).arrays["image"].shape == (2, 3)


def _array(**changes):
    return [{"name": "image", "dtype": "uint8", "shape": [2, 3], **changes}]


@pytest.mark.parametrize(
    "changes",
    [
        {"v": ...}, {"v": "1"}, {"v": True}, {"v": None},
        {"type": ...}, {"type": 3}, {"type": ""}, {"type": "a b"}, {"type": "x" * 65}, {"type": "pïng"},
        {"job": "../../etc"}, {"job": ""}, {"job": 4}, {"job": "a/b"}, {"job": "a\\b"}, {"job": "x" * 65},
        {"job": "-rf"}, {"job": "a\n"},
        {"seq": ...}, {"seq": -1}, {"seq": 1.5}, {"seq": True}, {"seq": 2**60}, {"seq": "1"},
        {"arrays": ...}, {"arrays": {}}, {"arrays": None}, {"arrays": []}, {"arrays": [None]},
        {"arrays": _array() * 2}, {"arrays": _array(extra=1)}, {"arrays": [{"name": "image"}]},
        {"arrays": _array(name="")}, {"arrays": _array(name=1)}, {"arrays": _array(name="../x")},
        {"arrays": _array(dtype="O")}, {"arrays": _array(dtype="object")}, {"arrays": _array(dtype="V6")},
        {"arrays": _array(dtype="<U1")}, {"arrays": _array(dtype=["uint8"])},
        {"arrays": _array(dtype="bool")},
        {"arrays": _array(shape=6)}, {"arrays": _array(shape=[2, 4])}, {"arrays": _array(shape=[-2, -3])},
        {"arrays": _array(shape=[2.0, 3])}, {"arrays": _array(shape=[True, 6])},
        {"arrays": _array(shape=["2", 3])},
        {"arrays": _array(shape=[10**400, 0])}, {"arrays": _array(shape=[1] * 9)},
        {"arrays": _array(shape=[2**40, 2**40])}, {"arrays": _array(dtype="float32")},
    ],
)  # fmt: skip
def test_malformed_headers_are_refused_in_one_sentence(changes):
    with pytest.raises(wire.WireError) as caught:
        wire.unpack(_message(**changes))
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text and len(text) < 300


@pytest.mark.parametrize(
    "frames",
    [
        [], [b""], [b"{"], [b"[]"], [b"null"], [b"\xff\xfe"], [b"{}"], [b"[" * 200_000],
        [b'{"v":1,"type":"ping","job":null,"seq":NaN,"arrays":[]}'],
        [b'{"v":1,"v":1,"type":"ping","job":null,"seq":0,"arrays":[]}'],
        [b'{"v":1,"type":"ping","job":null,"seq":0,"arrays":[]}', b"more"],
        [b'{"v":' + b"9" * 5000 + b"}"],
        [b" " * (wire.MAX_HEADER_BYTES + 1)],
        [None], [3], _message()[:1], [_message()[0], b"abcde"], [_message()[0], b"abcdefg"],
    ],
)  # fmt: skip
def test_garbage_is_refused(frames):
    with pytest.raises(wire.WireError):
        wire.unpack(frames)


def test_another_version_is_told_apart_from_garbage():
    with pytest.raises(wire.VersionError, match=r"version 3 .* install the same release") as caught:
        wire.unpack(_message(v=3))
    assert caught.value.version == 3


def test_too_many_arrays():
    many = {f"a{i}": np.zeros(1, np.uint8) for i in range(wire.MAX_ARRAYS + 1)}
    with pytest.raises(wire.WireError, match="at most 64"):
        wire.pack("body", arrays=many)


def test_an_array_claimed_larger_than_the_limit_is_refused_before_its_bytes_are_counted():
    claimed = _array(shape=[wire.MAX_ARRAY_BYTES + 1])
    with pytest.raises(wire.WireError, match=r"impossible shape|larger than"):
        wire.unpack(_message(arrays=claimed))


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=4))
def test_fuzz_raw_bytes(frames):
    with pytest.raises(wire.WireError):
        wire.unpack(frames)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.data())
def test_fuzz_damaged_messages_give_a_message_or_a_wire_error(data):
    buffers = [bytearray(b) for b in _message(text="é", options={"a": [1, 2.5, None]})]
    for _ in range(data.draw(st.integers(1, 4))):
        part = buffers[data.draw(st.integers(0, len(buffers) - 1))]
        at = data.draw(st.integers(0, len(part)))
        match data.draw(st.sampled_from(["cut", "put", "flip"])):
            case "cut":
                del part[at:]
            case "put":
                part[at:at] = data.draw(st.sampled_from([b'"', b"{", b"}", b",", b"-", b"1e999", b"\\ud800"]))
            case "flip" if at < len(part):
                part[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        message = wire.unpack(buffers)
    except wire.WireError as error:
        assert str(error)
    else:
        assert all(isinstance(a, np.ndarray) for a in message.arrays.values())


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["v", "type", "job", "seq", "arrays", "x"]), values, max_size=6))
def test_fuzz_headers_of_the_right_keys(header):
    header.setdefault("v", wire.VERSION)
    try:
        wire.unpack([json.dumps(header).encode(), os.urandom(4)])
    except wire.WireError as error:
        assert str(error)
    else:
        pytest.fail("a message with a buffer that no header lists was accepted")


@pytest.mark.parametrize(
    "call",
    [
        lambda: wire.pack("ping", v=1),
        lambda: wire.pack("ping", x=float("nan")),
        lambda: wire.pack("ping", x={1, 2}),
        lambda: wire.pack("p ng"),
        lambda: wire.pack("ping", job="../x"),
        lambda: wire.pack("ping", seq=-1),
        lambda: wire.pack("ping", x="x" * wire.MAX_HEADER_BYTES),
        lambda: wire.pack("ping", arrays={"a": np.array(["x"])}),
        lambda: wire.pack("ping", arrays={"a": np.array([None])}),
        lambda: wire.pack("ping", arrays={"a b": np.zeros(2)}),
        lambda: wire.pack("ping", arrays={"a": np.zeros((1,) * 9)}),
    ],
)
def test_pack_refuses_what_the_other_side_would_refuse(call):
    with pytest.raises(wire.WireError):
        call()


def test_want():
    message = wire.Message("credit", fields={"n": 3, "f": 2.5, "b": True, "none": None})
    assert message.want("n", int) == 3 and message.want("n", float) == 3 and message.want("f", float) == 2.5
    assert message.want("b", bool) is True and message.want("gone", int, None) is None
    assert message.want("none", (int, type(None))) is None
    for name, kind in (("b", int), ("b", float), ("f", int), ("n", str), ("gone", int), ("none", int)):
        with pytest.raises(wire.WireError, match=f"'{name}' of a 'credit' message"):
            message.want(name, kind)


def test_check_arrays():
    good = {
        name: np.zeros([d if isinstance(d, int) else 2 for d in dims], dtype)
        for name, (dtype, dims) in wire.RESULT.items()
    }
    assert wire.Message("result", arrays=good).check_arrays(wire.RESULT) == {"n": 2, "b": 2, "e": 2}
    bad = [
        {"pose": np.zeros((2, 54, 3), np.float32)},
        {"pose": np.zeros((3, 55, 3), np.float32)},
        {"pose": np.zeros((2, 55, 3), np.float64)},
        {"pose": np.zeros((2, 55), np.float32)},
        {"more": np.zeros(1)},
    ]
    for change in bad:
        with pytest.raises(wire.WireError):
            wire.Message("result", arrays={**good, **change}).check_arrays(wire.RESULT)
    with pytest.raises(wire.WireError, match="betas"):
        wire.Message("result", arrays={k: v for k, v in good.items() if k != "betas"}).check_arrays(
            wire.RESULT
        )
