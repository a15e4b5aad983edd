"""A dataset in a recipe: a table `[[data.sources]]`, and what may stand in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from backend.nets.losses import StreamWeights
from backend.train.streams.augment import Looks
from backend.train.streams.framing import Shake

GROUPS = ("parametric", "keypoints3d", "dense", "keypoints2d")
"""NLF's four kinds of training data; their weights are the paper's (`StreamWeights`)."""


@dataclass(frozen=True)
class Kind:
    """A dataset that we can read."""

    group: str
    """One of `GROUPS`."""
    bodies: bool = False
    """Whether it needs the user's licensed files."""
    does: tuple[str, ...] = ()
    """The options that it knows beyond the common ones."""


KINDS: dict[str, Kind] = {
    "amass": Kind("parametric", does=("every",)),
    "agora": Kind("parametric", True, ("split", "every")),
    "bedlam": Kind("parametric", True, ("split", "every")),
    "3dpw": Kind("parametric", True, ("split", "every")),
    "emdb": Kind("parametric", True, ("split", "every")),
    "human36m": Kind("keypoints3d", does=("split", "every")),
    "mpi_inf_3dhp": Kind("keypoints3d", does=("split", "every")),
    "coco": Kind("keypoints2d", does=("split", "hidden", "fov")),
    "mpii": Kind("keypoints2d", does=("split", "hidden", "fov")),
    "densepose": Kind("dense", True, ("split", "fov")),
}


@dataclass(frozen=True)
class Source:
    """A dataset that a recipe names."""

    kind: str = ""
    """One of `KINDS`."""
    folder: str = ""
    """Of the dataset, in its published layout."""
    share: float = 0.0
    """Of each batch, 0..1."""
    weight: float = 0.0
    """In the loss; 0 for the paper's weight of its group."""
    body: str = ""
    """Folder of the user's licensed SMPL / SMPL-X files."""
    name: str = ""
    """In reports; the kind if empty."""
    split: str = ""
    """In the dataset's own words; empty for the usual one."""
    every: int = 0
    """Takes one of so many frames; 0 for the usual number."""
    fov: float = 55.0
    """Degrees that the picture's larger side spans where nothing is known of the camera."""
    hidden: bool = False
    """Whether joints count too that are marked but not visible."""
    shake: Shake = field(default_factory=lambda: Shake(part=0.15))
    """How inexactly the people are cropped."""
    looks: Looks = field(default_factory=lambda: Looks(erase=0.15))
    """How the crops are changed."""

    @property
    def label(self) -> str:
        """Its name in reports."""
        return self.name or self.kind

    @property
    def group(self) -> str:
        return KINDS[self.kind].group

    @property
    def in_loss(self) -> float:
        """Its weight."""
        return self.weight or getattr(StreamWeights(), self.group)


def source_rules(sources: Sequence[Source]) -> Iterator[tuple[bool, str]]:
    """(whether it is so, the sentence if it is not), for `config.check`."""
    labels = ["synthetic", "real"]
    for number, s in enumerate(sources, 1):
        place = f"data.sources {number}"
        yield s.kind in KINDS, f"the kind of {place} must be one of {', '.join(KINDS)}, not '{s.kind}'"
        if s.kind not in KINDS:
            return
        place, kind = f"{place} ({s.label})", KINDS[s.kind]
        yield bool(s.folder), f"{place} must name its folder"
        yield s.share > 0, f"{place} needs a share of each batch that is more than 0"
        yield s.weight >= 0, f"{place} needs a weight that is not negative"
        yield s.every >= 0, f"every of {place} must be a number of frames"
        yield 1 <= s.fov <= 170, f"fov of {place} must lie between 1 and 170 degrees"
        yield (
            bool(s.body) or not kind.bodies,
            f"{place} needs a body: name the folder of your licensed SMPL or SMPL-X files",
        )
        usual = Source()
        for option in ("split", "every", "fov", "hidden"):
            said = getattr(s, option) != getattr(usual, option)
            yield not said or option in kind.does, f"{place} does not know {option}"
        yield "/" not in s.label, f"the name of {place} must not hold a /"
        yield s.label not in labels, f"{place} has a name that is taken: give it another one"
        labels.append(s.label)
