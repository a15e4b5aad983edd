"""The 33 BlazePose landmarks as canonical points, found by rules on joints and rest geometry.

The rules use the 55 joints, the skinning weights and the outline of the rest mesh, never a vertex number, so that
they hold for the shipped body and for a user's SMPL-X file alike; on SMPL and SMPL-H, which have neither eyes nor all
fingers, with the places that `missing` estimates. Lengths scale with the distance of the eyes.
Order and meaning of the landmarks: MediaPipe's pose landmark documentation.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from backend.body.model import Body, CanonicalPoints
from backend.body.points import canonical_points, joint_place, joint_point, stack
from backend.body.skeleton import JOINT

_ORDER = (
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist "
    "left_pinky right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee "
    "right_knee left_ankle right_ankle left_heel right_heel left_foot_index right_foot_index"
)
LANDMARK_NAMES: tuple[str, ...] = tuple(_ORDER.split())

_AT_JOINT = {
    "shoulder": "shoulder",
    "elbow": "elbow",
    "wrist": "wrist",
    "pinky": "pinky1",
    "index": "index1",
    "thumb": "thumb2",
    "knee": "knee",
    "ankle": "ankle",
}
_HIP_SHARE = 0.62
"""The hip landmark's distance from the midline, as a share of the body's half width at that height. People mark
the hip further out than the centre of the joint, and SMPL-X's own hip joints sit closer to the midline still."""
_cache: WeakKeyDictionary[Body, CanonicalPoints] = WeakKeyDictionary()


def body_landmarks(body: Body) -> tuple[CanonicalPoints, tuple[str, ...]]:
    """The 33 landmarks in BlazePose's order and their names; computed once per body."""
    if body not in _cache:
        _cache[body] = _find(body)
    return _cache[body], LANDMARK_NAMES


def landmark(body: Body, name: str) -> CanonicalPoints:
    """One of the landmarks by its name. Raises ValueError for a name that is none."""
    return body_landmarks(body)[0].take([LANDMARK_NAMES.index(name)])


def _find(body: Body) -> CanonicalPoints:
    points = {}
    for side, x in (("left", 1.0), ("right", -1.0)):
        for name, joint in _AT_JOINT.items():
            points[f"{side}_{name}"] = joint_place(body, f"{side}_{joint}")
        points |= _face_side(body, side, x) | _foot(body, side)
        points[f"{side}_hip"] = _hip(body, side, x)
    points["nose"] = _on_skin(body, _nose(body))
    return stack([points[name] for name in LANDMARK_NAMES])


def _eye_distance(body: Body) -> float:
    J = body.joints_template
    return float(np.linalg.norm(J[JOINT["left_eye_smplhf"]] - J[JOINT["right_eye_smplhf"]]))


def _head(body: Body) -> np.ndarray:
    """Rows of the skin of head and jaw, without the eyeballs."""
    eyes = [JOINT["left_eye_smplhf"], JOINT["right_eye_smplhf"]]
    w = body.weights
    return np.flatnonzero((w[:, JOINT["head"]] + w[:, JOINT["jaw"]] > 0.6) & (w[:, eyes].sum(1) < 0.05))


def _front(body: Body, xy: np.ndarray, radius: float) -> np.ndarray:
    """Most forward point (3,) of the head's skin within `radius` of (x, y)."""
    v = body.v_template[_head(body)]
    close = v[np.linalg.norm(v[:, :2] - xy, axis=1) < radius]
    if len(close) == 0:
        close = v[[np.linalg.norm(v[:, :2] - xy, axis=1).argmin()]]
    return np.array([*xy, close[:, 2].max()])


def _mouth_height(body: Body) -> float:
    """y where the lips meet: the highest place on the midline's profile that the jaw moves more than the head."""
    unit, J = _eye_distance(body), body.joints_template
    eye = J[JOINT["left_eye_smplhf"]]
    rows = _head(body)
    v, jaw = body.v_template[rows], body.weights[rows, JOINT["jaw"]] > 0.5
    midline = (np.abs(v[:, 0]) < 0.15 * unit) & (v[:, 2] > eye[2] - 0.2 * unit)
    midline &= np.abs(v[:, 1] - eye[1] + 1.2 * unit) < 0.7 * unit
    v, jaw = v[midline], jaw[midline]
    # Tongue, teeth and the inside of the lips lie behind the profile.
    front = [p[2] > v[np.abs(v[:, 1] - p[1]) < 0.06 * unit, 2].max() - 0.06 * unit for p in v]
    lower = v[jaw & np.array(front, bool), 1]
    if len(lower) == 0:
        return float(eye[1] - 1.1 * unit)
    return float(np.clip(lower.max(), eye[1] - 1.4 * unit, eye[1] - 0.85 * unit))


def _nose(body: Body) -> np.ndarray:
    unit, eye = _eye_distance(body), body.joints_template[JOINT["left_eye_smplhf"]]
    v = body.v_template[_head(body)]
    low = _mouth_height(body) + 0.2 * unit
    near = v[(np.abs(v[:, 0]) < 0.1 * unit) & (v[:, 1] > low) & (v[:, 1] < eye[1])]
    tip = near[near[:, 2].argmax()]
    return np.array([0.0, tip[1], tip[2]])


def _face_side(body: Body, side: str, x: float) -> dict[str, CanonicalPoints]:
    unit = _eye_distance(body)
    eye = body.joints_template[JOINT[f"{side}_eye_smplhf"]]
    skin = body.v_template[_head(body)]
    # The eyelids meet about a quarter of the eyes' distance to either side of the pupil.
    inner, outer = (_front(body, eye[:2] + np.array([s * x * unit, 0]), 0.08 * unit) for s in (-0.25, 0.24))
    level = (np.abs(skin[:, 1] - eye[1]) < 0.9 * unit) & (skin[:, 2] < eye[2] - 0.5 * unit)
    side_skin = skin[level]
    furthest = side_skin[(side_skin[:, 0] * x).argmax()]
    rim = side_skin[np.linalg.norm(side_skin - furthest, axis=1) < 0.3 * unit].mean(0)
    # The landmark is the ear's opening: in front of, below and inside the rim.
    ear = rim + np.array([-0.1 * x, -0.15, 0.15]) * unit
    corner = _front(body, np.array([0.38 * x * unit, _mouth_height(body)]), 0.1 * unit)
    return {
        f"{side}_eye": joint_point(body, f"{side}_eye_smplhf", (0, 0, 0.19 * unit), carrier="head"),
        f"{side}_eye_inner": _on_skin(body, inner),
        f"{side}_eye_outer": _on_skin(body, outer),
        f"{side}_ear": _on_skin(body, ear),
        f"mouth_{side}": _on_skin(body, corner),
    }


def _on_skin(body: Body, position: np.ndarray) -> CanonicalPoints:
    """The vertex of the head's skin nearest to a place that a rule has found."""
    rows = _head(body)
    return body.vertices_as_points(rows[[np.linalg.norm(body.v_template[rows] - position, axis=1).argmin()]])


def _hip(body: Body, side: str, x: float) -> CanonicalPoints:
    J = body.joints_template[JOINT[f"{side}_hip"]]
    legs = [JOINT[n] for n in ("pelvis", "left_hip", "right_hip", "spine1")]
    v = body.v_template[body.weights[:, legs].sum(1) > 0.5]
    level = v[np.abs(v[:, 1] - J[1]) < 0.3 * _eye_distance(body)]
    half = (level[:, 0] * x).max()
    return canonical_points(body, np.array([[_HIP_SHARE * half * x, J[1], J[2]]]))


def _foot(body: Body, side: str) -> dict[str, CanonicalPoints]:
    """Heel: rearmost skin of the lower half of the foot. Foot index: tip of the big toe, a little back from the
    end, as it is marked on pictures."""
    J, v = body.joints_template, body.v_template
    ankle, ball = J[JOINT[f"{side}_ankle"]], J[JOINT[f"{side}_foot"]]
    foot = body.weights[:, [JOINT[f"{side}_ankle"], JOINT[f"{side}_foot"]]].sum(1) > 0.5
    rows = np.flatnonzero(foot & (v[:, 1] < (v[foot, 1].min() + ankle[1]) / 2))
    length = np.ptp(v[rows, 2])
    heel = v[rows[v[rows, 2] < v[rows, 2].min() + 0.03 * length]].mean(0)
    # The big toe lies on the inner side of the foot's long axis.
    inner = rows[np.abs(v[rows, 0]) < abs(ball[0])]
    tip = v[inner[v[inner, 2].argmax()]]
    return {
        f"{side}_heel": canonical_points(body, heel[None]),
        f"{side}_foot_index": canonical_points(body, (tip - [0, 0, 0.04 * length])[None]),
    }
