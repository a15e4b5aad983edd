"""Which clips of the motion file the temporal model may learn from, and which only judge it: shared out by performer.

The file (`cmu_30fps.npz`) names its clips `<subject>_<trial>` and says where each comes from (`source`). Clips of one
performer are alike, so that a split by clip would flatter whoever learnt from the others.
"""

from __future__ import annotations

HELD_OUT: dict[tuple[str, str], str] = {
    ("mb", "05"): "dance: pirouettes, leaps, arabesques, bends; one walk",
    ("mb", "06"): "basketball: dribbling forwards, backwards and sideways, turns, shots; one walk",
    ("mb", "08"): "walking, from slow to long strides",
    ("mb", "09"): "running; walking forwards, backwards and sideways",
    ("daz", "13"): "boxing, jumps in a row, squats, jogging, standing and talking; a stool, a ladder, steps",
}
"""(source, subject) of the held-out performers and what they do: 17 % of the frames, 27 % of the clips. Salsa, Indian
dance, martial arts and whatever else has lost its performer stay in training, and so do `csm` and `amc`, which must be
on one side (the performers of `csm` are unknown: a few of its clips may be other trials of subject 13). Break dance is
the one source of people who are upside down, so that it is learnt from."""


def split_of(name: str, source: str) -> str:
    """ "train" or "held-out" for the clip `name` of `source`, as the file spells both."""
    return "held-out" if (str(source), str(name).split("_")[0]) in HELD_OUT else "train"
