"""BEDLAM: processed labels `<scene>.npz` and pictures `<scene>/png/<sequence>/<frame>.png`.

Layout: BEDLAM's data_processing/df_full_body.py, which writes the labels, and train/dataset/datasetx.py, which reads
them: imgname, center, scale (of 200 pixels, of a box 1.2 times as large as the joints'), pose_cam (165: SMPL-X, the
root in camera space, hands relative to flat ones), shape (11, of the neutral body), trans_cam, cam_ext (4, 4), cam_int
(3, 3). A vertex lies in camera space at SMPL-X(pose_cam, shape, trans_cam) + cam_ext[:3, 3]: the rotation in cam_ext is
in pose_cam already. Close-ups are portraits that were stored lying on their side. Labels of AGORA in the same layout
(agora-*.npz) are passed over: they mix in children and other hands; `agora` reads the data set itself.

Folders: labels in `training_labels/all_npz_12_training/` and pictures in `training_images/`, as BEDLAM's
fetch_training_data.sh unpacks them, or both anywhere below the folder under the scenes' names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.train.datasets.arrays import Npz
from backend.train.datasets.fitted import Fitted
from backend.train.datasets.folders import every as all_of
from backend.train.datasets.folders import inside, wrong
from backend.train.datasets.record import LEAST_SIDE, Photo

_WHAT = "BEDLAM"
_LARGER = 1.2


class _Scene:
    """One file of labels."""

    def __init__(self, file: Path, folder: Path) -> None:
        npz = Npz(file, "BEDLAM's labels")
        self.names = npz.read("imgname", None)
        n = len(self.names)
        self.pose = npz.read("pose_cam", n, 165).astype(np.float32)
        self.shape = npz.read("shape", n, None).astype(np.float32)
        self.K = npz.read("cam_int", n, 3, 3).astype(np.float64)
        self.cameras = npz.read("cam_ext", n, 4, 4).astype(np.float64)
        self.trans = npz.read("trans_cam", n, 3).astype(np.float64)
        self.large = npz.read("scale", n).astype(np.float64) * 200 / _LARGER >= LEAST_SIDE
        places = (f"training_images/{file.stem}/png", f"images/{file.stem}/png", f"{file.stem}/png")
        there = [folder / p for p in places if (folder / p).is_dir()]
        if not there:
            raise wrong(_WHAT, folder, f"it holds no pictures for {file.name}: {places[0]} is missing")
        self.pictures = there[0]


class Bedlam:
    """`split`: part of the names of the files of labels to use, or all. Left out: people smaller than 64 pixels (BEDLAM
    itself leaves out those of whom fewer than 12 of 22 joints are in the picture)."""

    model = "smplx"

    def __init__(self, folder: Path, split: str = "", every: int = 1) -> None:
        files = [f for f in folder.rglob("*.npz") if split in f.stem and "agora" not in f.stem]
        self._scenes = [_Scene(f, folder) for f in all_of(files, folder, _WHAT, f"labels *{split}*.npz")]
        rows = []
        for number, scene in enumerate(self._scenes):
            people = np.flatnonzero(scene.large)[::every]
            rows.append(np.stack([np.full_like(people, number), people], 1))
        self._rows = np.concatenate(rows)
        if not len(self._rows):
            raise wrong(_WHAT, folder, "it holds nobody who is large enough")

    def __len__(self) -> int:
        return len(self._rows)

    def person(self, i: int) -> Fitted:
        """See `People.person`."""
        number, row = (int(v) for v in self._rows[i])
        s = self._scenes[number]
        K = s.K[row]
        photo = Photo(inside(s.pictures, str(s.names[row]), _WHAT), portrait=bool(K[0, 2] < K[1, 2]))
        return Fitted(
            photo, K, "neutral", s.pose[row].reshape(55, 3), s.shape[row], s.trans[row], np.eye(3),
            s.cameras[row, :3, 3],
        )  # fmt: skip
