"""One list of a motion's arrays, from which wire, job folder, add-on and scene take theirs."""

import io

import numpy as np
import pytest

from backend.records import TrackMotion as BackendMotion
from blender_addon.link.job import CameraInfo, Result
from blender_addon.shared import motion as schema
from blender_addon.shared import wire
from blender_addon.shared.motion import TrackMotion

SIZES = {"n": 5, "b": 16, "e": 20}


def made(seed=0, first=0, kind=TrackMotion, **more):
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.normal(size=[SIZES.get(d, d) for d in dims]).astype(dtype)
        for name, (dtype, dims) in schema.SPEC.items()
    }
    arrays["frames"] = np.arange(first, first + SIZES["n"], dtype=np.int32)
    return kind(3, **arrays, **more)


def through_a_file(arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    return np.load(file, allow_pickle=False)


def test_both_sides_speak_of_the_same_class():
    assert BackendMotion is TrackMotion and issubclass(Result, TrackMotion)
    assert wire.RESULT is schema.SPEC
    message = wire.unpack(wire.pack("result", "job", 1, made().arrays()))
    assert message.check_arrays(wire.RESULT) == {"n": 5, "b": 16, "e": 20}


def test_every_field_but_track_and_final_is_an_array_with_its_dimensions():
    assert {*schema.SPEC, "track", "final"} == set(TrackMotion.__dataclass_fields__)
    assert set(schema.PER_FRAME) == set(schema.SPEC) - {"betas", "up", "floor", "shot", "person"}


def test_a_file_gives_the_same_motion_back():
    kept = made(final=True)
    again = TrackMotion.from_file(through_a_file(kept.to_file()))
    assert (again.track, again.final) == (3, True)
    for name, array in kept.arrays().items():
        found = getattr(again, name)
        assert found.dtype == array.dtype == schema.SPEC[name][0]
        np.testing.assert_array_equal(found, array)


def test_a_file_of_an_earlier_release_opens():
    """Release 0.1 wrote the arrays in the types that they happened to have; its first jobs did not know `up`."""
    old = {
        n: a.astype(np.float64) if a.dtype.kind == "f" else a for n, a in made(final=True).to_file().items()
    }
    del old["up"]
    for name in ("floor", "contacts", "bridged"):
        del old[name]
    again = TrackMotion.from_file(through_a_file(old))
    assert again.pose.dtype == np.float32 and again.up.tolist() == [0, -1, 0]
    assert np.isnan(again.floor).all() and again.contacts.shape == (5, 8) and not again.bridged.any()


@pytest.mark.parametrize("broken", ["lacks", "frames", "joints", "words", "track"])
def test_a_file_that_holds_no_motion_is_refused(broken):
    arrays = made().to_file()
    match broken:
        case "lacks":
            del arrays["trans"]
        case "frames":
            arrays["pose"] = arrays["pose"][:-1]
        case "joints":
            arrays["joints"] = arrays["joints"][:, :24]
        case "words":
            arrays["betas"] = np.array(["a"] * 16)
        case "track":
            arrays["track"] = np.arange(3)
    with pytest.raises((KeyError, ValueError)):
        TrackMotion.from_file(through_a_file(arrays))


def test_parts_of_a_track_are_joined_in_time():
    camera = CameraInfo(640, 480, 500.0, 500.0, 319.5, 239.5)
    parts = [made(seed, 5 * seed, Result, camera=camera) for seed in range(3)]
    whole = schema.joined(parts)
    assert isinstance(whole, Result) and whole.camera is camera
    assert whole.frames.tolist() == list(range(15)) and whole.pose.shape == (15, 55, 3)
    np.testing.assert_array_equal(whole.betas, parts[-1].betas)
    schema.check(whole)
    assert schema.joined(parts[:1]) is parts[0]
