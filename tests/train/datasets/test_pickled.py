"""Pickles of datasets: what real programs wrote is read, what could run or grow is refused."""

from __future__ import annotations

import base64
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest

from backend.errors import JobError
from backend.files.pickles.data import Thing, read_pickled, table, unpickled
from backend.files.pickles.inert import Refusal
from backend.train.datasets.arrays import Npz, read_mat

from .makers import foreign

PANDAS_1_1 = (
    "eNp1VPlj2zQUdpJe82CMewN2MQ6NwyRQoMBGu7GtdGbZEJcLBCM7ahQaO/lseV2h3gEkbYBx/qP8ByDJTtmA6QdL8nvf+54+vacb1XDA4jZLnb"
    "CfcGctYRG3zzLJzpsVrBM3UclRJd6UZVl+1ElQuwPRjSVPYtZLnYjFrMOT1D7T64frF4udjSkVYZq0MEP+hWvzqzx1ApZy24/5hr+i/9iYvbtb"
    "6TGXY0+RT1slCjuMs2iwWfhHWU92WZKwTdtPeNiPU5lkobSxt/CyVWhjxT2uNcS9oR/22zxMbR7rhY19XkUFDnCfN6PmHpPduIH9I9xP8cA2Hq"
    "R4iLgVd3qIh8uAbbk5ULhHvKryv7SAR8c72zhAcZC4NRNrC481m80Lf6lhPu6ixOPBuIUniDer7N2oc5lJgUPmSCGLPBz2amq53m3jiFmtsg0c"
    "NcFiHOMSTwbGN1ZXhOPNbISnKJ4W/69cwuIOt6n+lvo9k+NZIo43vWkVI5UskSCuZSKmsj/ACbdabvgAz7kVFf95ihd4Cy8SsVcY4Ryh1HiJoq"
    "7VqLjVERqikGBtAS9rCV6hmJ9IcBKv3imBJfFaMBb7vP3WZKwuFfPUEl4XSvAFijck3gwmjG9pxpMUp3YZ3y4ZuwtY1IxLFKcVo/gv15ldrkrJ"
    "Vi1nvKO5zlKckzi/y7Wsud6lWNFcNc11QRxUN+YSb06BmF+vO4O4g/fMNvDrDbO92EKTjHeUUJfGrIXLZHnxz4JmuTycpWzv36Ve05D1mGoYKu"
    "ZVsnO7wswt4QOd5IcUH43wMcUnTJWAF6hQq0TMCtUOnxJhT3L/TOf+OUXL6DTEFyZzXxxmEl8GwpQLowgKZHgbsq2RnGKtRHYMUohjCtktkV9R"
    "rBfI3m3ISCNjir7Ra4iBQYKIQ+KIOKqyTUp4SiF5jsw0V91pzDsNXMmxUbQzU/WKq2LGWAP9iqTYbOFrkuMbYn5eYb1M+WyJuhFIPUe+ckuRh7"
    "4fZF2lZez7dtrrhqolr+kycSvbuE5xI8txk4gtcUrk4po75U5rw7cU3ynD99qwogzlcYb6OCOK7fI4O+K0rp8D1j9jUj+1SR2N9RX9QPGjxE9B"
    "xrNU4lbRpb56IPCzt6d8r8wTi1/M3o+4ZOYR+7WF30w/MimTFL/n+CMLnL8B8dS54A=="
)
PANDAS_1_5 = (
    "eJyFU9GK00AUTdpkt+riuohaUXzwaX2wdN8EhS1WXDRYZUF0H8pwk0wzock0JBNqwQV9cLeFedvrX/kx/oHeSbrY7i6YwMydzJ17zsmc+835+a"
    "tpVY/eyUCGUHSCSc47oxxSjvraK1DwuorP8Ml3PMZd7bA0ylE/Wk2PpeK5hKTopCAh4nmBeutlMgnG7+o1Hdd3lydYEvvFvyOot1kpszgYJ5z5"
    "5oxJviPLNJvV1dMyUTHkOcyoKst5MJGFystAmUS3SkS9SbWrlDP0rB/Yt308xUPc9Wx6GycotrUbqllmlOjG6Bku5vV+U9svcDAYvP1DTzV4lk"
    "J/0b9V/5ijXj07PaTPuuWXMdGRxNstkjgw9QyCZ5tyXsOM4oa4KXYMDXF7nURbN+IVaPHwSmC7RrQay9kAi8ee47n/Q2meo7xfE/j1gsB9gzOk"
    "y2wB63Y7mYyQhLHuXhXSxmLOh7gAig72f9ckDpb/waIdsaU3igASMBcrHvRb9U6rhycECdzwvcyNFk8X/bZ1QV1zRWWt7NRQ0O11h4X8Cy86Ph"
    "Tky+tM8il7Y74ZAh+1ex5XDg3JtXiZgEuL55XszTiNPoASqJ0A0s+om+M4pPEIpqhtiUaAdqTx/aA0ksQnff8qOjnIyPA5NPMKBxENyB4KckVu"
    "1E6hJhndmgk4BXZVk5uB2olMSZ1mOJ93HUu5gkrEkFwGSlE/HaPeYKMEoiq8B0kymRYsLDPyICjOEvA5NdO8KP3OXxt6aHQ="
)
"""zlib and base64 of a table that pandas 1.1.5 and 1.5.3 pickled: columns of numbers, texts and lists."""
PYTHON_2 = {
    0: (
        "eNqNUVtrwyAUfj+/Y2BeVtSsaQqD9DVQ+rDAngrBGBvKktSp2VrYj9/RXra26zbwiJdPz3eJas2gIFa9DqqXioDm8Pwu2peSUtAx2IJUygmLFw"
        "8QtXoMsh86vRvJjVGjbmjdWhgjdmClaIUBnUC0R0DtdlqBnkBUkFVKIKeQM3BPOoUoj7HpI4HFYpHfMwhFwVUFWW4p/blWaUb88ykIZCVFV+qN"
        "VZ4Zo7dYlUbJTW+dGaRDHDuR6+s9QDOObLA16gy/sxj3iMs54HBNisS8Q7d5/V2zX0TR7JeX6Qw5VXu1Xmz5Jtp17RWHMNgYGq+puRKRnES4Jg"
        "RQsW8BsMkhgY/rBHLMPahlnoNv791uVF8rE7xOQ+cpgjoCAqMlIY9jFpz6e85uMOP8y974YC/9l71TfpcfZ8mz84PaH9TVclsl3dniAqc8rpp0"
        "F2CVZEelwV4ew3w8Bzv6BA3k5NM="
    ),
    2: (
        "eNp1j79Lw0AUx++uxqapv3+uDg6ZSt0chHTVgw6FA5cQLperKSZpXy5RCgourdbRP0Z3/wRXNwdnRze9JhUp4uPxvjwevM/3e0OuAdvMVBJymQ"
        "gJ5LSKELrk0bnXbEKFGb7MuIIFFwyR5PFg2BD9VDbiPMp6PE350FKCRzy1YLG8W0E2HEgLqox0Dymi+LYDpk0rDB+12+2TL13FoCjzmYmK+nTG"
        "HahxVhM89gZ9JRVY/9C8VIp+orI0F5kF9RkzCcorLFE0YtjXzGWbYkooGYfmHdtD89Uq5cMp1WxpL8saPmV7FzzqBbDiwmpYD38frhUPR6EO5h"
        "/Mgq0Xwa7+BJswgrVwVj2TSSBTBRsubNoMxwx3JTPKjFsubM8hdkrPFe15wpo/Zh/2j3U/O6W+OK+P8bRn+5vzVKzvzpRHtPPde2zkjW8qmZfK"
    ),
}
"""What Python 2.7 with numpy 1.16 wrote of the fields of 3DPW, with its protocols 0 and 2."""


def packed(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


@pytest.mark.parametrize("written", [PANDAS_1_1, PANDAS_1_5])
def test_tables_of_real_pandas(written):
    assert table(unpickled(packed(written))) == {
        "imgPath": ["a_00.png", "b_01.png"], "camX": [100.0, 2.5], "kid": [[False, True], [False]],
        "Yaw": [[1.0, 2.0], [3.0]], "n": [1, 2],
    }  # fmt: skip


@pytest.mark.parametrize("protocol", [0, 2])
def test_what_python_2_wrote(protocol):
    found = unpickled(packed(PYTHON_2[protocol]))
    assert found["sequence"] == "walk_00" and found["genders"] == ["m", "f"] and found["id"] == 5
    assert np.allclose(found["poses"][0], np.arange(6).reshape(2, 3) / 7)
    assert found["betas"] == [1.5] and found["campose_valid"][0].tolist() == [True, False]
    assert found["cam_poses"].tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_of_every_protocol(protocol):
    rng = np.random.default_rng(0)
    said = {
        "f": np.asfortranarray(rng.normal(size=(3, 4))), "i": np.arange(5, dtype=">i2"), "b": np.array([True, False]),
        "s": np.float32(1.5), "empty": np.zeros((0, 3)), "text": "é", ("S1", "54138969"): {"R": np.eye(3)},
        "objects": np.array([None, "a", [1, 2]], object), "tuple": (1, 2.5, None), "names": np.array(["a", "bc"]),
    }  # fmt: skip
    found = unpickled(pickle.dumps(said, protocol=protocol))
    for name in ("f", "i", "b", "empty", "names"):
        assert found[name].shape == said[name].shape and (found[name] == said[name]).all()
    assert found["s"] == 1.5 and found["text"] == "é" and found["tuple"] == (1, 2.5, None)
    assert found["objects"] == [None, "a", [1, 2]]
    assert (found["S1", "54138969"]["R"] == np.eye(3)).all()


def test_shared_parts_stay_shared():
    deep: list = [np.arange(10)]
    for _ in range(25):
        deep = [deep, deep]
    found = unpickled(pickle.dumps(deep))
    assert found[0] is found[1]
    own: list = []
    own.append(own)
    found = unpickled(pickle.dumps(own))
    assert found[0] is found
    nested: list = []
    for _ in range(60):
        nested = [nested]
    with pytest.raises(Refusal, match="nested too deeply"):
        unpickled(pickle.dumps(nested))


def test_objects_of_other_packages_are_things():
    with foreign("some.package", "Odd") as odd:
        value = odd()
        value.x = np.arange(3)
        written = pickle.dumps({"a": value})
    found = unpickled(written)["a"]
    assert (
        isinstance(found, Thing)
        and found.cls == "some.package.Odd"
        and found.attributes["x"].tolist() == [0, 1, 2]
    )


class _Runs:
    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self):
        return (Path.touch, (self.ran,))


def test_nothing_runs(tmp_path):
    ran = tmp_path / "ran"
    file = tmp_path / "x_data.pkl"
    for value in (_Runs(ran), {"gender": _Runs(ran)}, [1, {"a": [_Runs(ran)]}]):
        file.write_bytes(pickle.dumps(value))
        with pytest.raises(
            JobError, match=r"^[^\n]* cannot be used as EMDB: it .* which could run code; nothing was run\.$"
        ):
            read_pickled(file, "EMDB")
    for written in (
        b"cos\nsystem\n(S'touch x'\ntR.",
        b"c__builtin__\neval\n(S'1'\ntR.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93)R.",
    ):
        with pytest.raises(Refusal, match="could run code"):
            unpickled(written)
    # An object of the standard library is none of a dataset's.
    with pytest.raises(Refusal, match=r"makes an object of fractions\.Fraction|calls fractions\.Fraction"):
        unpickled(pickle.dumps(__import__("fractions").Fraction(1, 2)))
    assert not ran.exists()


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (b"", "damaged"),
        (b"no pickle at all", "damaged"),
        (pickle.dumps(np.arange(1000))[:-200], "damaged|no end"),
        (pickle.dumps(np.arange(4.0)).replace(b"K\x04", b"K\x09"), "more or fewer numbers"),
        (pickle.dumps({(1.5, 2): 1}), "keys that are neither names nor numbers"),
    ],
)
def test_damage_is_said(tmp_path, written, why):
    file = tmp_path / "a.pkl"
    file.write_bytes(written)
    with pytest.raises(JobError, match=rf"^[^\n]*cannot be used as 3DPW: [^\n]*({why})[^\n]*\.$") as caught:
        read_pickled(file, "3DPW")
    assert caught.value.code == "bad_data"


def test_torch_tensors_and_missing_files_are_said(tmp_path):
    torch_like = b"ctorch._utils\n_rebuild_tensor_v2\n)R."
    with pytest.raises(Refusal, match=r"calls torch\._utils"):
        unpickled(torch_like)
    with pytest.raises(JobError, match="cannot be read"):
        read_pickled(tmp_path / "none.pkl", "3DPW")


def test_arrays_of_npz(tmp_path):
    file = tmp_path / "a.npz"
    np.savez(
        file,
        names=["a", "b"],
        x=np.zeros((2, 3)),
        o=np.array(["m", "f"], object),
        bad=np.array([_Runs(tmp_path / "r")]),
    )
    npz = Npz(file, "BEDLAM")
    assert npz.read("names", None).tolist() == ["a", "b"] and npz.read("x", 2, 3).shape == (2, 3)
    assert npz.read("o", 2).tolist() == ["m", "f"]
    for name, shape, why in (
        ("y", (), "it holds no y"),
        ("x", (2, 4), "its x is not of the size 2 x 4"),
        ("x", (None,), "not of the size n"),
        ("bad", (), "could run code; nothing was run"),
    ):
        with pytest.raises(JobError, match=f"cannot be used as BEDLAM: .*{why}"):
            npz.read(name, *shape)
    assert not (tmp_path / "r").exists()
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(JobError, match="damaged or no npz"):
        Npz(file, "BEDLAM")


def test_matlab_files(tmp_path):
    from scipy.io import savemat

    file = tmp_path / "a.mat"
    savemat(file, {"a": np.arange(3), "s": {"b": 1.5}})
    a, s = read_mat(file, "MPII", "a", "s")
    assert a.tolist() == [0, 1, 2] and s.b == 1.5
    with pytest.raises(JobError, match="it holds no RELEASE"):
        read_mat(file, "MPII", "RELEASE")
    file.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512, b"\0"))
    with pytest.raises(JobError, match="save it with -v7"):
        read_mat(file, "MPII", "a")
    file.write_bytes(b"MATLAB 5.0 MAT-file".ljust(140, b"\1"))
    with pytest.raises(JobError, match="missing, damaged or no MATLAB file"):
        read_mat(file, "MPII", "a")
    with pytest.raises(JobError, match="missing, damaged"):
        read_mat(tmp_path / "none.mat", "MPII", "a")
