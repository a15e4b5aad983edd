"""Archives as torch writes them, made byte by byte."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path


def archive_of(path: Path, root: bytes, storages: dict[str, bytes] | None = None, **options) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("x/data.pkl", root)
        archive.writestr("x/byteorder", "little")
        for key, data in (storages or {}).items():
            archive.writestr(f"x/data/{key}", data)
    return path


def tensor_pickle(offset=0, shape=(2, 2), stride=(2, 1), numel=4, key="0", kind="FloatStorage") -> bytes:
    """{'a': tensor} as torch writes it, with the view as asked."""

    def integer(n):
        return b"\x8a\x08" + struct.pack("<q", n)

    def text(s):
        return b"X" + struct.pack("<I", len(s)) + s.encode()

    def numbers(values):
        return b"(" + b"".join(integer(v) for v in values) + b"t"

    storage = (
        b"("
        + text("storage")
        + f"ctorch\n{kind}\n".encode()
        + text(key)
        + text("cpu")
        + integer(numel)
        + b"tQ"
    )
    hooks = b"ccollections\nOrderedDict\n)R"
    body = b"(" + storage + integer(offset) + numbers(shape) + numbers(stride) + b"\x89" + hooks + b"t"
    return b"\x80\x02}" + text("a") + b"ctorch._utils\n_rebuild_tensor_v2\n" + body + b"Rs."
