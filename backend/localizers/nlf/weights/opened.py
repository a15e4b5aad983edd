"""Installed weights, opened: the model, its skeletons, the canonical volumes and bodies that came with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors.torch
import torch
from scipy.spatial import cKDTree

from backend.body.model import Body
from backend.body.skeleton import JOINT_NAMES
from backend.errors import JobError
from backend.files.pickles.inert import Refusal
from backend.localizers.nlf.crop_model import CONSTANTS, CropModel
from backend.localizers.nlf.weights.blank import blank_model
from backend.localizers.nlf.weights.bodies import BODY_KINDS, body_of
from backend.localizers.nlf.weights.skeletons import Skeleton, make_skeletons
from backend.localizers.nlf.weights.store import (
    CANONICAL,
    MODEL,
    SKELETONS,
    Installed,
    check_file,
    damaged,
    find,
)

if TYPE_CHECKING:
    from backend.volumes.volume import CanonicalVolume

_SMPL_SHARED = 22
"""The first joints of SMPL and of SMPL-X are the same; SMPL's last two are hands."""
_MAX_SUBSET_MM = 20.0
"""How far, in the mean, official canonical vertices may lie from those posed here before something is wrong."""
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError)


class OfficialWeights:
    """What `open_weights` gives. Files are checked against their sha256 when they are read."""

    def __init__(self, info: Installed) -> None:
        self.info = info
        self._model_file = check_file(info, MODEL)
        self._lefts, self._centers = self._rows("canonical_lefts"), self._rows("canonical_centers")
        self.skeletons: dict[str, Skeleton] = self._read_skeletons()
        """By name: labels, rows of `CropModel.canonical_locs`, edges."""

    def model(self) -> CropModel:
        """The crop model in evaluation mode, float32 on the CPU, constants loaded."""
        try:
            read = safetensors.torch.load_file(self._model_file)
            # Copies, since a file that is mapped into memory cannot be removed on Windows.
            tensors = {
                n: t.to(torch.float32 if t.is_floating_point() else t.dtype, copy=True)
                for n, t in read.items()
            }
            del read
            constants = {short: tensors.pop(name) for short, name in CONSTANTS.items()}
            model = blank_model(self.info.size, self.info.fix_uncert_factor, self._lefts, self._centers)
            model.load_state_dict(tensors, assign=True)
            model.load_constants(constants)
        except _UNREADABLE as error:
            raise damaged(
                self.info.folder, f"its {MODEL} does not hold NLF-{self.info.size.upper()}"
            ) from error
        return model.eval()

    def embedded(self, kind: str) -> dict[str, np.ndarray] | None:
        """The tensors of the body of this kind that came with the weights, or None.

        float32 and int32 under the archive's names: v_template (V, 3) in the rest pose, weights (V, J),
        J_template (J, 3), kintree_parents_tensor (J,), and where they are there shapedirs (V, 3, S),
        posedirs (V, 3, 9 (J-1)), J_shapedirs, J_regressor_post_lbs (J, V), kid_shapedir, kid_J_shapedir, faces (F, 3).
        """
        if kind not in self.info.bodies:
            return None
        return {n: np.array(t) for n, t in self._tensors(f"body_{kind}.safetensors").items()}

    def body(self, kind: str = "smplx") -> Body:
        """The embedded SMPL-X body. Raises JobError("bad_body") when the weights have none, or no triangles."""
        arrays = self.embedded(kind)
        if kind != "smplx" or arrays is None:
            text = f"{self.info.name} gives no body: it came without SMPL-X tensors; give"
            raise JobError("bad_body", f"{text} SMPLX_NEUTRAL.npz with --body.")
        return body_of(arrays, self.info.name)

    def volume(self, kind: str = "smpl") -> CanonicalVolume | None:
        """The body of this kind in the weights' canonical space, or None where the weights do not tell.

        The release's own vertices (nlf_data_files.zip) come first; else the embedded SMPL body is posed. SMPL-X is
        posed only if there is no SMPL: the official volume is SMPL's, and SMPL-X's shape is a little different.
        """
        from backend.volumes.volume import CanonicalVolume, volume_of_smpl

        known = self._tensors(CANONICAL) if CANONICAL in self.info.files else {}
        arrays = self.embedded(kind)
        faces = None if arrays is None else arrays.get("faces")
        if f"vertices.{kind}" in known:
            vertices = known[f"vertices.{kind}"].numpy()
            if faces is not None and faces.max() >= len(vertices):
                faces = None
            places = known.get(f"joints.{kind}")
            return CanonicalVolume(
                kind, vertices, faces, {} if places is None else _joints(places.numpy(), kind)
            )
        if arrays is None or (kind == "smplx" and "smpl" in self.info.bodies):
            return None
        posed = volume_of_smpl(
            arrays["v_template"], arrays["weights"], arrays["J_template"], arrays["kintree_parents_tensor"],
            arrays.get("posedirs"), faces=faces, name=kind,
        )  # fmt: skip
        subset = known.get(f"subset.{kind}")
        return posed if subset is None else self._against(posed, subset.numpy(), kind)

    def _against(self, posed: CanonicalVolume, subset: np.ndarray, kind: str) -> CanonicalVolume:
        """`posed` with the official places of the joints, once its vertices were compared to the official ones."""
        from backend.volumes.volume import CanonicalVolume

        count = BODY_KINDS[kind]
        if len(subset) <= count:
            return posed
        apart = 1000 * float(cKDTree(posed.vertices).query(subset[:-count])[0].mean())
        if kind == "smpl" and apart > _MAX_SUBSET_MM:
            text = (
                f"The body in the weights {self.info.name} lies {apart:.0f} mm away from their own canonical points: "
                "add them again together with nlf_data_files.zip."
            )
            raise JobError("bad_weights", text)
        joints = posed.joints if kind != "smpl" else posed.joints | _joints(subset[-count:], kind)
        return CanonicalVolume(posed.name, posed.vertices, posed.faces, joints)

    def _read_skeletons(self) -> dict[str, Skeleton]:
        path = check_file(self.info, SKELETONS)
        try:
            data = json.loads(path.read_text("utf-8"))
            lists = {n: (s["labels"], s["indices"], s["edges"]) for n, s in data.items()}
            return make_skeletons(lists, 2 * self._lefts + self._centers)
        except (*_UNREADABLE, AttributeError, Refusal, RecursionError) as error:
            raise damaged(self.info.folder, f"its {SKELETONS} cannot be read") from error

    def _tensors(self, name: str) -> dict[str, torch.Tensor]:
        path = check_file(self.info, name)
        try:
            return safetensors.torch.load_file(path)
        except _UNREADABLE as error:
            raise damaged(self.info.folder, f"its {name} cannot be read") from error

    def _rows(self, name: str) -> int:
        try:
            with safetensors.safe_open(self._model_file, "pt") as file:
                return file.get_slice(name).get_shape()[0]
        except (*_UNREADABLE, IndexError) as error:
            raise damaged(self.info.folder, f"its {MODEL} holds no {name}") from error


def open_weights(name: str, home: Path | None = None) -> OfficialWeights:
    """Installed weights by name. Raises JobError("bad_weights") when they are unknown, damaged or edited."""
    return OfficialWeights(find(name, home))


def _joints(places: np.ndarray, kind: str) -> dict[str, np.ndarray]:
    names = JOINT_NAMES[:_SMPL_SHARED] if kind == "smpl" else JOINT_NAMES
    return {n: np.array(p, np.float32) for n, p in zip(names, places, strict=False)}
