"""Archives as the official release has them, written by torch itself: TorchScript, checkpoint and data files.

Names, sizes, kinds of numbers and attributes are the official ones (docs/nlf.md 11); the numbers follow the rule of the
golden fixtures, so that what comes out can be compared. Bodies and skeletons are made up.
This file has no postponed annotations, since TorchScript reads them.
"""

import io
import pickle
import sys
import types
import zipfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from nlf.golden_weights import golden_model
from torch import nn

from backend.body.skeleton import PARENTS
from backend.localizers.nlf.crop_model import CONSTANTS, CropModel
from backend.localizers.nlf.weights.bodies import body_arrays
from backend.volumes.volume import volume_of_smpl

JOINTS = 867
SKELETONS = {
    "smpl_24": (tuple(f"joint{i}_smpl" for i in range(24)), tuple(range(30, 54)), ((0, 1), (1, 2), (4, 23))),
    "coco_19": (tuple(f"joint{i}_coco" for i in range(19)), tuple(range(100, 119)), ((0, 18),)),
    "lone": (("tip",), (866,), ()),
    "": (tuple(f"any{i}" for i in range(555)), tuple(range(555)), ((554, 0),)),
}


class Node(nn.Module):
    """A module with whatever attributes it is given; `forward` keeps TorchScript content."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Detector(nn.Module):
    """Stands for the person detector, which is never copied."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).half()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


class Multiperson(nn.Module):
    """The root of the release, with its attributes; how the real one works is of no matter here."""

    cano_all: dict[str, torch.Tensor]
    weights: dict[str, dict[str, torch.Tensor]]
    per_skeleton_indices: dict[str, torch.Tensor]
    per_skeleton_joint_names: dict[str, list[str]]
    per_skeleton_joint_edges: dict[str, torch.Tensor]
    skeleton_joint_indices_table: dict[str, list[int]]

    def __init__(self, crop_model: nn.Module, white: bool, bodies: dict, places: dict) -> None:
        super().__init__()
        self.crop_model = crop_model
        self.detector = Detector()
        self.body_models = nn.ModuleDict({k: body_node(b) for k, b in bodies.items()})
        self.fitters = nn.ModuleDict({k: body_node(b) for k, b in bodies.items()})
        nothing = torch.zeros([])
        self.cano_all = {"smpl": torch.zeros(0, 3), **places}
        self.weights = {k: {"w_tensor": nothing, "b_tensor": nothing} for k in ("smpl", "smplx")}
        self.per_skeleton_indices = {k: torch.tensor(s[1], dtype=torch.int32) for k, s in SKELETONS.items()}
        self.per_skeleton_joint_names = {k: list(s[0]) for k, s in SKELETONS.items()}
        self.per_skeleton_joint_edges = {
            k: torch.tensor(s[2], dtype=torch.int32).reshape(-1, 2) for k, s in SKELETONS.items()
        }
        self.skeleton_joint_indices_table = {k: list(s[1]) for k, s in SKELETONS.items()}
        self.pad_white_pixels = white

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.detector(x)


@dataclass
class Recipe:
    """What the archive is to hold. `tensors`: by the crop model's names, constants too."""

    tensors: dict[str, torch.Tensor]
    white: bool = False
    fixed: bool = False
    bodies: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    places: dict[str, torch.Tensor] | None = None
    """Canonical vertices and joints by kind; None: as the bodies have them."""
    settings: dict[str, float | int | bool] = field(default_factory=dict)


def half(name: str, value: torch.Tensor) -> torch.Tensor:
    """The release stores backbone and linking layer in half precision."""
    linked = name.startswith(("backbone.", "heatmap_head.layer."))
    return value.half() if linked and value.is_floating_point() else value


@cache
def release_tensors(size: str = "s") -> dict[str, torch.Tensor]:
    """All tensors of the crop model in a released TorchScript, by name."""
    model = golden_model(size)
    found = {n: half(n, v) for n, v in model.state_dict().items()}
    found |= {name: model.get_buffer(name).clone() for name in CONSTANTS.values()}
    return found | {"backbone.0.mean": torch.tensor(0.5).half(), "backbone.0.std": torch.tensor(0.5).half()}


@cache
def rounded_model(size: str = "s") -> CropModel:
    """The model that the release's tensors make, in float32."""
    tensors = release_tensors(size)
    model = CropModel(size)
    model.load_state_dict({n: tensors[n].float() for n in model.state_dict()})
    model.load_constants({short: tensors[name] for short, name in CONSTANTS.items()})
    return model.eval()


def tree(tensors: dict[str, torch.Tensor]) -> nn.Module:
    """Modules whose state dict has exactly these names."""
    root = Node()
    for name, value in tensors.items():
        *rooms, leaf = name.split(".")
        node = root
        for room in rooms:
            if room not in node._modules:
                node.add_module(room, Node())
            node = node._modules[room]
        if leaf in ("weight", "bias", "canonical_lefts", "canonical_centers") and value.is_floating_point():
            node.register_parameter(leaf, nn.Parameter(value))
        else:
            node.register_buffer(leaf, value)
    return root


def subset(body: dict[str, torch.Tensor], count: int = 100) -> torch.Tensor:
    """Some vertices and all joints in the canonical pose, the joints 7 mm higher, by which they are recognised."""
    arrays = body_arrays({n: t.numpy() for n, t in body.items()})
    posed = volume_of_smpl(
        arrays["v_template"], arrays["weights"], arrays["J_template"], arrays["kintree_parents_tensor"],
        arrays["posedirs"],
    )  # fmt: skip
    joints = body["J_template"].numpy() + np.float32([0, 0.007, 0])
    return torch.tensor(np.concatenate([posed.vertices[:count], joints]))


def body_node(tensors: dict[str, torch.Tensor]) -> nn.Module:
    node = tree(tensors)
    node.model_name, node.num_betas = "smpl", tensors["shapedirs"].shape[2]
    node.kintree_parents = tensors["kintree_parents_tensor"].tolist()
    return node


def make_torchscript(path: Path, recipe: Recipe) -> Path:
    """Script and save, as the release was made."""
    crop = tree(recipe.tensors)
    crop.input_resolution = recipe.settings.get("proc_side", 256)
    crop.heatmap_head.fix_uncert_factor = recipe.fixed
    for name, value in {"proc_side": 256, "box_size_m": 2.2, "depth": 8, **recipe.settings}.items():
        setattr(crop.heatmap_head, name, value)
    places = {k: subset(b) for k, b in recipe.bodies.items()} if recipe.places is None else recipe.places
    torch.jit.script(Multiperson(crop, recipe.white, recipe.bodies, places)).save(str(path))
    return path


def made_up_body(
    kind: str, vertices: int = 600, faces: bool = False, shifted: bool = True
) -> dict[str, torch.Tensor]:
    """Body tensors with smplfitter's names. `shifted`: its template, which lacks the correctives of the rest pose."""
    parents = PARENTS if kind == "smplx" else np.array([*PARENTS[:22], 20, 21])
    J, rng = len(parents), np.random.default_rng(5)
    # Symmetric, as tall as a person, with a few joints close to each vertex.
    v = rng.uniform(-1, 1, (vertices // 2, 3)) * [0.8, 0.9, 0.15]
    v = np.concatenate([v, v * [-1, 1, 1]])
    regressor = rng.random((J, len(v))) ** 8
    regressor /= regressor.sum(1, keepdims=True)
    weights = rng.random((len(v), J)) ** 6
    weights /= weights.sum(1, keepdims=True)
    posedirs = 0.002 * rng.standard_normal((len(v), 3, 9 * (J - 1)))
    shapedirs = 0.01 * rng.standard_normal((len(v), 3, 10))
    joints = regressor @ v
    rest = posedirs @ np.tile(np.eye(3).ravel(), J - 1)
    arrays = {
        "v_template": v - rest if shifted else v,
        "shapedirs": shapedirs,
        "posedirs": posedirs,
        "J_regressor_post_lbs": regressor,
        "J_template": joints,
        "J_shapedirs": np.einsum("jv,vcs->jcs", regressor, shapedirs),
        "kid_shapedir": np.zeros_like(v),
        "kid_J_shapedir": np.zeros_like(joints),
        "weights": weights,
    }
    out = {n: torch.tensor(a, dtype=torch.float32) for n, a in arrays.items()}
    out["kintree_parents_tensor"] = torch.tensor(parents.astype(np.int64))
    if faces:
        out["faces"] = torch.tensor(rng.permutation(len(v))[: len(v) // 3 * 3].reshape(-1, 3))
    return out


def joint_names() -> list[str]:
    """867 names: 360 left, 360 right, 147 in the middle, in a mixed order; some of hands and fingers."""
    left = [f"l{part}{i}_x" for i in range(90) for part in ("kne", "hanthumb", "index", "han")]
    names = [*left, *("r" + n[1:] for n in left), *(f"pelv{i}_x" for i in range(147))]
    return [names[i] for i in np.random.default_rng(3).permutation(len(names))]


class AttrDict(dict):
    """As the attrdict package pickles itself: entries, and a state that is a triple."""

    def __reduce_ex__(self, protocol):
        return (
            sys.modules["copyreg"].__newobj__,
            (type(self),),
            (dict(self), tuple, False),
            None,
            iter(self.items()),
        )


class JointInfo:
    """As posepile's."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.ids = AttrDict(zip(names, range(len(names)), strict=True))
        self.n_joints = len(names)
        self.stick_figure_edges = [(0, 1), (1, 2)]


def data_members(protocol: int = 4) -> dict[str, bytes]:
    """The members of nlf_data_files.zip; pickles have the class names of packages that are not installed here."""
    for module, cls in (("posepile.joint_info", JointInfo), ("attrdict.dictionary", AttrDict)):
        for name in (module.split(".")[0], module):
            sys.modules.setdefault(name, types.ModuleType(name))
        setattr(sys.modules[module], cls.__name__, cls)
        cls.__module__ = module
    skeletons = {
        k: {"indices": np.array(i), "names": list(n), "edges": list(e)} for k, (n, i, e) in SKELETONS.items()
    }
    rng = np.random.default_rng(1)
    arrays = {
        "canonical_nodes3.npy": rng.uniform(-1, 1, (5000, 3)) * [0.9, 1.0, 0.2] + [0, -0.3, 0],
        "canonical_eigval3.npy": np.arange(1030.0) * 7,
        "canonical_loc_symmetric_init_866.npy": rng.uniform(-1, 1, (JOINTS, 3)).astype(np.float32),
        "canonical_verts/smpl.npy": rng.uniform(-1, 1, (690, 3)).astype(np.float32),
        "canonical_verts/smplx.npy": np.asfortranarray(rng.uniform(-1, 1, (1047, 3))),
        "canonical_joints/smpl.npy": rng.uniform(-1, 1, (24, 3)),
        "canonical_joints/smplx.npy": rng.uniform(-1, 1, (144, 3)),
        "mesh_that_nobody_needs.npy": rng.random((1000, 3)),
    }
    members = {
        "joint_info_866.pkl": pickle.dumps(JointInfo(joint_names()), protocol),
        "skeleton_types_huge8.pkl": pickle.dumps(skeletons, protocol),
    }
    return members | {name: npy(array) for name, array in arrays.items()}


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def make_zip(path: Path, members: dict[str, bytes], folder: str = "nlf_data_files/") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(folder + name, data)
    return path


def thin(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same names, sizes and kinds, every number 0.5, in archives of a few kilobytes: torch stores one number."""
    return {n: torch.full((), 0.5, dtype=t.dtype).expand(t.shape) for n, t in tensors.items()}
