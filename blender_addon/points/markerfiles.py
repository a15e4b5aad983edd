# SPDX-License-Identifier: GPL-3.0-or-later
"""Tracked points as the files that biomechanics reads: TRC, C3D and CSV. No bpy.

TRC as OpenSim's documentation describes it ("Marker (.trc) Files"): millimetres, y up. C3D after "The C3D File Format:
A Technical User Guide" (Motion Lab Systems): floating point, little endian, millimetres, z up, and the uncertainty as
each point's residual. CSV: one row a frame, metres, z up.
"""

import csv
import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..shared.whole import write_whole
from .canonical import PointError

TRC_FIELDS = "DataRate CameraRate NumFrames NumMarkers Units OrigDataRate OrigDataStartFrame OrigNumFrames"
BLOCK = 512
MOST_FRAMES = 65535
_CHAR, _INT, _FLOAT = -1, 2, 4


def write_trc(
    path: Path, names: Sequence[str], frames: np.ndarray, positions: np.ndarray, rate: float
) -> None:
    """`frames`: (n,); `positions`: (n, P, 3) metres, z up; `rate`: frames per second. Raises PointError."""
    n, count = positions.shape[:2]
    out = io.StringIO()
    fields = TRC_FIELDS.split()
    out.write(f"PathFileType\t4\t(X/Y/Z)\t{path.name}\n" + "\t".join(fields) + "\n")
    out.write(f"{rate:.6g}\t{rate:.6g}\t{n}\t{count}\tmm\t{rate:.6g}\t{int(frames[0])}\t{n}\n")
    out.write("Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t\n")
    axes = "\t".join(f"X{i}\tY{i}\tZ{i}" for i in range(1, count + 1))
    out.write(f"\t\t{axes}\n\n")
    # Blender's (x, y, z) is (x, z, -y) with y up.
    upright = 1000 * positions[..., [0, 2, 1]] * [1, 1, -1]
    for frame, row in zip(frames.tolist(), upright.reshape(n, -1), strict=True):
        numbers = "\t".join(f"{v:.4f}" for v in row)
        out.write(f"{int(frame)}\t{(frame - frames[0]) / rate:.6f}\t{numbers}\n")
    _write(path, out.getvalue().encode("utf-8"))


def write_csv(
    path: Path,
    names: Sequence[str],
    frames: np.ndarray,
    positions: np.ndarray,
    uncertainty: np.ndarray,
    rate: float,
) -> None:
    """As `write_trc`; `uncertainty`: (n, P) metres, a fourth column of each point."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = [f"{name}_{part}" for name in names for part in ("x_m", "y_m", "z_m", "uncertainty_m")]
    writer.writerow(["frame", "time_s", *columns])
    rows = np.concatenate([positions, uncertainty[..., None]], -1).reshape(len(frames), -1)
    for frame, row in zip(frames.tolist(), rows, strict=True):
        writer.writerow([int(frame), f"{(frame - frames[0]) / rate:.6f}", *(f"{v:.6f}" for v in row)])
    _write(path, out.getvalue().encode("utf-8"))


def write_c3d(
    path: Path,
    names: Sequence[str],
    frames: np.ndarray,
    positions: np.ndarray,
    uncertainty: np.ndarray,
    rate: float,
) -> None:
    """As `write_csv`; the residual of a point is its uncertainty in whole millimetres, 255 at most. Raises PointError
    for a clip of more than 65,535 frames, which the format cannot hold."""
    n, count = positions.shape[:2]
    if n > MOST_FRAMES:
        raise PointError(
            f"A C3D file holds at most {MOST_FRAMES} frames, this clip has {n}: export TRC or CSV."
        )
    groups = _groups(names, n, rate, data_start=0)
    start = 2 + -(-len(groups) // BLOCK)
    groups = _groups(names, n, rate, data_start=start).ljust((start - 2) * BLOCK, b"\0")
    header = struct.pack("<BBHHHHHfHHf", 2, 0x50, count, 0, 1, n, 0, -1.0, start, 0, rate).ljust(BLOCK, b"\0")
    words = np.empty((n, count, 4), "<f4")
    words[..., :3] = 1000 * positions
    words[..., 3] = np.clip(np.rint(1000 * uncertainty), 0, 255)
    words[~np.isfinite(positions).all(-1)] = (0, 0, 0, -1)
    data = words.tobytes()
    _write(path, header + groups + data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\0"))


def _groups(names: Sequence[str], frames: int, rate: float, data_start: int) -> bytes:
    """The parameter section, its length not yet filled up to whole blocks."""
    point = [
        ("USED", _INT, (), struct.pack("<H", len(names))),
        ("SCALE", _FLOAT, (), struct.pack("<f", -1.0)),
        ("DATA_START", _INT, (), struct.pack("<H", data_start)),
        ("FRAMES", _INT, (), struct.pack("<H", frames)),
        ("RATE", _FLOAT, (), struct.pack("<f", rate)),
        ("UNITS", _CHAR, (2,), b"mm"),
        ("X_SCREEN", _CHAR, (2,), b"+X"),
        ("Y_SCREEN", _CHAR, (2,), b"+Z"),
    ]
    # A list of texts holds at most 255; the next ones go into LABELS2, LABELS3 …
    for k in range(0, len(names), 255):
        part = [name.encode("ascii", "replace")[:127] for name in names[k : k + 255]]
        width = max(map(len, part))
        suffix = "" if k == 0 else str(k // 255 + 1)
        text = b"".join(name.ljust(width) for name in part)
        point.append((f"LABELS{suffix}", _CHAR, (width, len(part)), text))
        point.append((f"DESCRIPTIONS{suffix}", _CHAR, (width, len(part)), text))
    trial = [
        ("ACTUAL_START_FIELD", _INT, (2,), struct.pack("<HH", 1, 0)),
        ("ACTUAL_END_FIELD", _INT, (2,), struct.pack("<HH", frames, 0)),
    ]
    analog = [
        ("USED", _INT, (), struct.pack("<H", 0)),
        ("RATE", _FLOAT, (), struct.pack("<f", 0.0)),
    ]
    body = b"".join(
        _record(name, -number, b"") + b"".join(_parameter(number, *parameter) for parameter in parameters)
        for number, (name, parameters) in enumerate(
            (("POINT", point), ("ANALOG", analog), ("TRIAL", trial)), 1
        )
    )
    # Ended by a record without a name.
    body += b"\0\0"
    blocks = -(-(len(body) + 4) // BLOCK)
    return bytes([1, 0x50, blocks, 84]) + body


def _parameter(group: int, name: str, kind: int, shape: tuple[int, ...], data: bytes) -> bytes:
    return _record(name, group, struct.pack("<bB", kind, len(shape)) + bytes(shape) + data)


def _record(name: str, number: int, content: bytes) -> bytes:
    """A group or parameter: its name, its number, where the next one begins, its content, no description."""
    head = struct.pack("<bb", len(name), number) + name.encode("ascii")
    return head + struct.pack("<H", len(content) + 3) + content + b"\0"


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all. Raises PointError."""
    try:
        write_whole(path, lambda out: out.write(data))
    except OSError as error:
        raise PointError(
            f"{path} cannot be written ({error.strerror}); choose a folder that can be written to."
        ) from error


WRITERS: dict[str, Callable[..., None]] = {
    ".trc": lambda path, s: write_trc(path, s.names, s.frames, s.positions, s.rate),
    ".c3d": lambda path, s: write_c3d(path, s.names, s.frames, s.positions, s.uncertainty, s.rate),
    ".csv": lambda path, s: write_csv(path, s.names, s.frames, s.positions, s.uncertainty, s.rate),
}
"""By the file's ending; `s` has names, frames, positions, uncertainty and rate (see `scene.tracked.Sampled`)."""
