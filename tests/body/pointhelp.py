"""Files of points for the tests, and how a refusal must look."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from backend.errors import JobError
from backend.points.file import parse_points


def put(folder: Path, name: str, content) -> str:
    """Write a file (bytes, an array, text, or anything as JSON) into `folder`; its path as text."""
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def refused(text, body, *words, own=None) -> str:
    with pytest.raises(JobError) as e:
        parse_points(text, body, own or {})
    said = str(e.value)
    assert e.value.code == "bad_points"
    assert "\n" not in said and said.endswith(".") and len(said) < 400
    for word in words:
        assert word in said, (word, said)
    return said
