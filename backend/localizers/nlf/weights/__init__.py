"""Official NLF weights: read out of the release's files without running them, kept in the user's data folder.

`add` installs, `installed` lists, `remove` removes, `open_weights` gives the model and what came with it.
"""

from backend.localizers.nlf.weights.convert import add
from backend.localizers.nlf.weights.opened import OfficialWeights, open_weights
from backend.localizers.nlf.weights.skeletons import Skeleton
from backend.localizers.nlf.weights.store import Installed, installed, remove, survey

__all__ = [
    "Installed",
    "OfficialWeights",
    "Skeleton",
    "add",
    "installed",
    "open_weights",
    "remove",
    "survey",
]
