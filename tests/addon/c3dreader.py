"""A reader of C3D files written from the format's description alone, for files of floating-point points."""

import struct
from pathlib import Path

import numpy as np


def read_c3d(path: Path) -> dict:
    """-> points (n, P, 3), residuals (n, P), labels, rate, units; each as the file says, nothing converted."""
    data = path.read_bytes()
    assert len(data) % 512 == 0 and data[1] == 0x50
    at = 512 * (data[0] - 1)
    _, magic, blocks, processor = data[at : at + 4]
    assert magic == 0x50 and processor == 84, "little-endian floats only"
    end, at = at + 512 * blocks, at + 4
    groups, parameters = {}, {}
    while data[at]:
        length, number = struct.unpack_from("<bb", data, at)
        name = data[at + 2 : at + 2 + abs(length)].decode()
        at += 2 + abs(length)
        (step,) = struct.unpack_from("<H", data, at)
        if number < 0:
            groups[-number] = name
        else:
            kind, dims = struct.unpack_from("<bB", data, at + 2)
            shape = list(data[at + 4 : at + 4 + dims])
            parameters[number, name] = kind, shape, data[at + 4 + dims : at + step]
        at += step
        assert at < end
    named = {(groups[number], name): value for (number, name), value in parameters.items()}

    def number(name, form):
        return struct.unpack_from(form, named["POINT", name][2])[0]

    def texts(name):
        _, (width, count), text = named["POINT", name]
        return [text[i * width : (i + 1) * width].decode().rstrip() for i in range(count)]

    used, frames = number("USED", "<H"), number("FRAMES", "<H")
    assert struct.unpack_from("<HHHH", data, 2) == (used, 0, 1, frames)
    assert number("SCALE", "<f") < 0 and struct.unpack_from("<f", data, 12)[0] == number("SCALE", "<f")
    start = 512 * (number("DATA_START", "<H") - 1)
    assert start == 512 * (struct.unpack_from("<H", data, 16)[0] - 1)
    words = np.frombuffer(data, "<f4", 4 * used * frames, start).reshape(frames, used, 4)
    labels, k = [], 1
    while ("POINT", name := f"LABELS{k if k > 1 else ''}") in named:
        labels += texts(name)
        k += 1
    residual = np.where(words[..., 3] < 0, np.nan, (words[..., 3].astype(int) & 255) * -number("SCALE", "<f"))
    return {
        "points": words[..., :3],
        "residuals": residual,
        "labels": labels,
        "rate": number("RATE", "<f"),
        "header_rate": struct.unpack_from("<f", data, 20)[0],
        "units": named["POINT", "UNITS"][2][:2].decode(),
    }
