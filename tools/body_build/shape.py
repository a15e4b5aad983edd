"""Shape space, expressions and joint regressor from sampled bodies."""

from __future__ import annotations

import numpy as np

from backend.body.skeleton import JOINT, JOINT_NAMES, N_JOINTS, PARENTS, mirror_joints

_FLIP = np.array([-1.0, 1.0, 1.0])


def principal_components(samples: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (V, 3), directions (V, 3, count) of one standard deviation each, coefficients (N, count).

    `samples`: (N, V, 3). Signs are fixed so that a positive coefficient makes the body taller (or wider where
    height stays).
    """
    N = len(samples)
    mean = samples.mean(0, dtype=np.float64)
    X = (samples - mean.astype(np.float32)).reshape(N, -1)
    _, vectors = np.linalg.eigh((X @ X.T).astype(np.float64))
    coefficients = vectors[:, ::-1][:, :count] * np.sqrt(N)
    # The columns are orthogonal, so a direction is the mean of the bodies weighted by their coefficient.
    directions = (coefficients.T @ X / N).reshape(count, -1, 3)
    for k, d in enumerate(directions):
        height = d[:, 1] @ (mean[:, 1] - mean[:, 1].mean())
        girth = d[:, 0] @ mean[:, 0]
        if (height if abs(height) > abs(girth) else girth) < 0:
            directions[k] *= -1
            coefficients[:, k] *= -1
    return mean, directions.transpose(1, 2, 0), coefficients


def project(samples: np.ndarray, mean: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Least-squares coefficients (N, nb) of bodies (N, V, 3) in the shape space."""
    D = directions.reshape(-1, directions.shape[2]).astype(np.float64)
    X = (samples - mean).reshape(len(samples), -1).astype(np.float64)
    return np.linalg.solve(D.T @ D, D.T @ X.T).T


def expression_components(actions: np.ndarray, count: int, mirror: np.ndarray) -> np.ndarray:
    """(V, 3, count) directions from facial actions (A, V, 3): SVD, unit = one standard deviation over the actions.

    Each action is met as often with its mirror image, so that components are symmetric or antisymmetric.
    """
    both = np.concatenate([actions, actions[:, mirror] * _FLIP]).reshape(2 * len(actions), -1)
    gram = both @ both.T
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    unit = (vectors.T @ both) / np.sqrt(values)[:, None]
    # Spread of one action among the 52 taken on its own, as SMPL-X's unit is the spread over its scans.
    out = unit * np.sqrt(values / len(both))[:, None]
    out *= np.where(out.sum(1, keepdims=True) < 0, -1, 1)
    return out.reshape(count, -1, 3).transpose(1, 2, 0), values.sum() / np.trace(gram)


def joint_directions(joints: np.ndarray, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joint template (55, 3) and directions (55, 3, nb): least squares of joints (N, 55, 3) on coefficients."""
    A = np.c_[np.ones(len(joints)), coefficients]
    x = np.linalg.lstsq(A, joints.reshape(len(joints), -1).astype(np.float64), rcond=None)[0]
    return x[0].reshape(N_JOINTS, 3), x[1:].reshape(-1, N_JOINTS, 3).transpose(1, 2, 0)


def joint_regressor(
    samples: np.ndarray,
    joints: np.ndarray,
    weights: np.ndarray,
    expressions: np.ndarray,
    mirror: np.ndarray,
    model: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    support: int = 1000,
    damping: float = 1e-5,
) -> np.ndarray:
    """(55, V) signed sparse regressor: ridge on the training bodies, on the linear model itself, and on the
    expressions (which must not move a joint). Rows sum to 1 and right joints mirror left ones.

    `model`: template (V, 3), directions (V, 3, nb), joint template, joint directions. Signed weights let a joint
    sit deep inside the body although all the vertices lie around it; many support vertices on the whole ring
    around it keep each weight small (norm of a row: what 1 mm of noise on every vertex does to the joint, in mm).
    """
    template, directions, J0, JS = model
    R = np.zeros((N_JOINTS, len(template)))
    swap = mirror_joints()
    # The linear model's own rows weigh as much as all the training bodies.
    scale = np.sqrt(len(samples) / (1 + directions.shape[2]))
    for j in range(N_JOINTS):
        if JOINT_NAMES[j].startswith("right_"):
            continue
        near = _support(j, template, weights, J0, mirror, support)
        columns = lambda a, near=near: a[near].transpose(1, 2, 0).reshape(-1, len(near))  # noqa: E731
        A = [samples[:, near].transpose(0, 2, 1).reshape(-1, len(near))]
        A += [scale * columns(np.concatenate([template[:, :, None], directions], 2))]
        A += [scale * columns(expressions), np.full((1, len(near)), 100.0)]
        y = [joints[:, j].reshape(-1), scale * np.concatenate([J0[j][:, None], JS[j]], 1).reshape(-1)]
        y += [np.zeros(A[2].shape[0]), [100.0]]
        A, y = np.concatenate(A).astype(np.float64), np.concatenate(y).astype(np.float64)
        even = np.full(len(near), 1 / len(near))
        w = even + np.linalg.solve(A.T @ A + damping * np.eye(len(near)), A.T @ (y - A @ even))
        R[j, near] = w
        if swap[j] == j:
            R[j] = (R[j] + R[j][mirror]) / 2
        R[j] /= R[j].sum()
        R[swap[j]] = R[j][mirror]
    return R


def _support(j, template, weights, J0, mirror, count) -> np.ndarray:
    """Vertices around joint j that hang on it, its parent or its children: nearest ones, spread evenly."""
    family = [q for q in range(N_JOINTS) if q == j or PARENTS[j] == q or PARENTS[q] == j]
    if j in (JOINT["left_eye_smplhf"], JOINT["right_eye_smplhf"]):
        family = [j]
    mine = np.flatnonzero(weights[:, family].sum(1) > 0.5)
    distance = np.linalg.norm(template[mine] - J0[j], axis=1)
    mine = mine[np.argsort(distance, kind="stable")][: 2 * count]
    keep = np.random.default_rng(j).permutation(len(mine))[:count]
    chosen = mine[np.sort(keep)]
    if mirror_joints()[j] == j:
        chosen = np.union1d(chosen, mirror[chosen])
    return chosen
