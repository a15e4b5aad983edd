"""Whether an uncertainty means something: it must rank errors, and hold as many of them as it promises."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

NOMINAL = {1: 0.6827, 2: 0.9545}
"""Share of normal errors within 1 and 2 sigma, axis by axis."""
_SHAPES = np.linspace(0, 1, 21)
_LEAST = 100
_SCALES = 101


def certainty_figures(error: np.ndarray, sigma: np.ndarray) -> dict[str, float]:
    """`error`: (..., 3) metres; `sigma`: (...) one standard deviation of each axis, metres.

    `spearman`: rank correlation of sigma with the error's length, 0 where either is all the same; `within_1`,
    `within_2`: share of the axes' errors that are no larger than 1 and 2 sigma, to be held against NOMINAL.
    """
    error, sigma = error.reshape(-1, 3), sigma.reshape(-1)
    length = np.linalg.norm(error, axis=1)
    ranked = np.ptp(length) > 0 and np.ptp(sigma) > 0
    out = {"spearman": float(spearmanr(length, sigma).statistic) if ranked else 0.0}
    for k in NOMINAL:
        out[f"within_{k}"] = float((np.abs(error) <= k * sigma[:, None]).mean())
    return out


def calibrate(error: np.ndarray, raw: np.ndarray) -> tuple[float, float]:
    """Factor and offset, neither below 0, that make `factor * raw + offset` one standard deviation of each axis.

    `error`: (..., 3) metres; `raw`: (...) what the model says, metres. Of all mixtures of the two the one under which
    the errors are likeliest (Laplace: errors have heavy tails), scaled so that neither 1 nor 2 sigma is far from the
    share that it promises. ValueError where there is too little to learn from.
    """
    error, raw = np.abs(error.reshape(-1, 3).astype(float)), raw.reshape(-1).astype(float)
    ok = np.isfinite(error).all(1) & np.isfinite(raw) & (raw > 0)
    error, raw = error[ok], raw[ok]
    if len(error) < _LEAST or not error.any():
        raise ValueError("too few errors to calibrate by")
    best, shape, mixed = np.inf, raw, 0.0
    for share in _SHAPES:
        tried = (1 - share) * raw / raw.mean() + share
        ratio = error / tried[:, None]
        loss = np.log(ratio.mean()) + np.log(tried).mean()
        if loss < best:
            best, shape, mixed = loss, tried, share
    ratio = np.sort((error / shape[:, None]).ravel())
    # Heavy tails let no scale keep both promises: the one that breaks neither by much.
    low, high = sorted(float(np.quantile(ratio, p)) / k for k, p in NOMINAL.items())
    scales = np.linspace(low, high, _SCALES)
    off = [np.abs(np.searchsorted(ratio, k * scales, "right") / len(ratio) - p) for k, p in NOMINAL.items()]
    scale = float(scales[np.max(off, 0).argmin()])
    return scale * (1 - mixed) / float(raw.mean()), scale * mixed
