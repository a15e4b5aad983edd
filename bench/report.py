"""What every benchmark script shares: its two options, and where its figures go."""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with --seed and --json."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--seed", type=int, default=0, help="seed of everything random")
    p.add_argument("--json", type=Path, help="write the figures to this file too")
    return p


def finish(figures: dict, path: Path | None) -> None:
    """Print the figures, with the machine they were taken on, and write them to `path`."""
    figures = {**figures, "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"}
    text = json.dumps(figures, indent=1)
    print(text)
    if path:
        path.write_text(text + "\n", encoding="utf-8")
