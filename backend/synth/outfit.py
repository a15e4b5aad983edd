"""An outfit as one vector of numbers, which the compiled shader reads: layers of cloth, skin, hair, glasses.

Every layer has the same numbers at fixed places after its own start: `row[TOP + SLEEVE]` is how far out, in
metres of the rest body, the shirt's sleeves reach. Places are those of the open body at rest (see `tailor`).
"""

from __future__ import annotations

import numpy as np

# Numbers of one layer.
ON, UPPER, LOWER, SLEEVE, NECK, OPEN, PATTERN, SCALE, PHASE, GLOSS, WEAR, TRIM = range(12)
COLOUR, SECOND, THIRD = 12, 15, 18
ROUGH = 21
LAYER = 24
# Layers, from the skin outwards.
SOCKS, BOTTOM, TOP, OUTER, SHOES, GLOVES, HAT = (LAYER * i for i in range(7))
# The person.
SKIN = LAYER * 7
HAIR = SKIN + 3
SHINE, HAIRLINE, HAIR_LOW, BEARD, STUBBLE, BROWS, GLASSES, LIPS, BLUSH, SEED, BARE, STRAPS = range(
    SKIN + 6, SKIN + 18
)
LENS = SKIN + 18
STRAP_COLOUR = SKIN + 21
IRIS = SKIN + 24
SIZE = SKIN + 30

# Patterns.
PLAIN, ACROSS, ALONG, CHECKS, BLOTCHES, DOTS, PRINT, RAGLAN, FADE, DENIM, SIDE_STRIPE, HEATHER, FLOWERS = (
    range(13)
)
KNIT = 13


def blank() -> np.ndarray:
    """An outfit of nothing."""
    return np.zeros(SIZE, np.float32)


def put(
    row: np.ndarray,
    layer: int,
    *,
    upper: float = 9.0,
    lower: float = -9.0,
    sleeve: float = 9.0,
    neck: float = 0.0,
    opened: float = 0.0,
    pattern: int = PLAIN,
    scale: float = 1.0,
    phase: float = 0.0,
    gloss: float = 0.0,
    wear: float = 0.0,
    trim: float = 0.0,
    rough: float = 0.0,
    colours=((0.1, 0.1, 0.1),),
) -> None:
    """Write one layer into `row`. `colours`: one to three linear rgb."""
    row[layer : layer + 12] = [
        1,
        upper,
        lower,
        sleeve,
        neck,
        opened,
        pattern,
        scale,
        phase,
        gloss,
        wear,
        trim,
    ]
    three = list(colours) + [colours[-1]] * (3 - len(colours))
    row[layer + ROUGH] = rough
    row[layer + COLOUR : layer + COLOUR + 9] = np.concatenate(three)
