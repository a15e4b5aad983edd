# SPDX-License-Identifier: Apache-2.0
"""What the file of a person is called: by the name that the user gave, on every system. Standard library only."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

_FORBIDDEN = frozenset('<>:"/\\|?*%')
"""Windows refuses all but the last, which stands for a frame's number where file names are patterns."""
_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{d}{k}" for d in ("com", "lpt") for k in "0123456789¹²³"))
)
LONGEST_BYTES = 80
"""Of a name: together with a clip's name and an ending it stays below the 255 that file systems take."""


def safe_name(text: str) -> str:
    """`text` as a file may be called, without an ending; empty where nothing of it is left."""
    plain = " ".join(unicodedata.normalize("NFC", text).split())
    plain = "".join("_" if c in _FORBIDDEN or unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c
                    for c in plain)  # fmt: skip
    # Windows takes dots and spaces off the end, and a leading dot hides a file elsewhere.
    plain = plain.strip(" .")
    plain = plain.encode("utf-8")[:LONGEST_BYTES].decode("utf-8", "ignore").rstrip(" .")
    if plain.split(".")[0].rstrip().lower() in _DEVICES:
        plain = f"_{plain}"
    return plain if plain.strip("_ .") else ""


def person_names(tracks: Iterable[int], names: Mapping[int, str]) -> dict[int, str]:
    """Track -> the part of a file's name that says who it is: `Anna`, or `person2` for somebody without a name. No two
    are alike, also where letters' case does not count: of two people with one name the later has his number with it."""
    out: dict[int, str] = {}
    rest = sorted(set(tracks))
    # Numbers are nobody else's.
    taken = {f"person{t}" for t in rest}
    for track in rest:
        number = f"person{track}"
        name = safe_name(names.get(track, "")) or number
        if _folded(name) in taken and name != number:
            name = f"{name}_{number}"
        while _folded(name) in taken and name != number:
            name += "_"
        taken.add(_folded(name))
        out[track] = name
    return out


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


__all__ = ["person_names", "safe_name"]
