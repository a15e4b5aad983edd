# SPDX-License-Identifier: GPL-3.0-or-later
"""Which localizers can be chosen: the shipped ones, and the weights that the user has added to the backend.

`python -m backend weights add FILE` keeps every set of weights in a folder of its own below `weights`, with an
`info.json` in it. Only their names are read here. Standard library only.
"""

from __future__ import annotations

import zlib

from ..shared.home import home_folder

SHIPPED = (
    ("field", "Best", "Every point is looked for in the picture itself", 3),
    ("heavy", "Landmarks", "33 points of each person, the body is fitted to them", 0),
    ("full", "Landmarks, faster", "About twice as fast", 1),
    ("lite", "Landmarks, draft", "The fastest, for a first look", 2),
)
"""Identifier, label, tooltip and lasting number of the shipped ones, best first."""


def installed_weights() -> list[str]:
    """Names of the user's weights, sorted."""
    folder = home_folder() / "weights"
    try:
        # Hidden folders are weights that are being added or removed.
        return sorted(p.name for p in folder.iterdir() if p.name[0] != "." and (p / "info.json").is_file())
    except OSError:
        return []


def choices() -> list[tuple[str, str, str, int]]:
    """Identifier, label, tooltip and lasting number of everything that can be chosen, the default first.

    The number is what a .blend file keeps: it must not change when other weights are added.
    """
    added = [
        (name, name, "Weights that you have added to the backend", zlib.crc32(name.encode()) & 0x3FFFFFFF)
        for name in installed_weights()
    ]
    return [*SHIPPED, *added]


def localizer(choice: str) -> str:
    """What the backend calls the choice `choice`."""
    landmarks = {name for name, *_ in SHIPPED} - {"field"}
    return f"landmarks-{choice}" if choice in landmarks else choice
