"""A body in SMPL-X layout: load it, pose it, name points on it."""

from backend.body.kinematics import Posed, forward, rest_joints, rodrigues
from backend.body.landmarks import LANDMARK_NAMES, body_landmarks
from backend.body.load import load_body
from backend.body.model import Body, BodyTensors, CanonicalPoints, PointTensors
from backend.body.points import canonical_points
from backend.body.skeleton import JOINT, JOINT_NAMES, N_JOINTS, PARENTS

__all__ = [
    "JOINT",
    "JOINT_NAMES",
    "LANDMARK_NAMES",
    "N_JOINTS",
    "PARENTS",
    "Body",
    "BodyTensors",
    "CanonicalPoints",
    "PointTensors",
    "Posed",
    "body_landmarks",
    "canonical_points",
    "forward",
    "load_body",
    "rest_joints",
    "rodrigues",
]
