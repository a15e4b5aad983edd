"""The last lines of tests/matrix.sh: a table of its rows, and why tests were skipped or failed.

python matrix_table.py FOLDER ROW...: reads FOLDER/ROW.xml (JUnit), FOLDER/ROW.version (Blender's and Python's) and
FOLDER/ROW.code (pytest's exit code).
"""

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

COLUMNS = "{:>8} {:>9} {:>8} {:>7} {:>7} {:>8} {:>8}"


def main(folder: Path, rows: list[str]) -> int:
    """Exit code: 1 when a test failed or a row has no result."""
    print(COLUMNS.format("row", "Blender", "Python", "passed", "failed", "skipped", "seconds"))
    reasons, bad = [], 0
    for row in rows:
        code = int((folder / f"{row}.code").read_text())
        if not (folder / f"{row}.xml").is_file():
            print(f"{row:>8} did not come to its end (exit code {code}): see {folder / row}.log")
            bad += 1
            continue
        suite = next(ElementTree.parse(folder / f"{row}.xml").iter("testsuite"))
        blender, python = (folder / f"{row}.version").read_text().split()
        count = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
        failed = count["failures"] + count["errors"]
        passed = count["tests"] - failed - count["skipped"]
        numbers = (passed, failed, count["skipped"], round(float(suite.get("time"))))
        print(COLUMNS.format(row, blender, python, *numbers))
        bad += bool(failed or code or not passed)
        for case in suite.iter("testcase"):
            name = f"{case.get('classname')}::{case.get('name')}"
            for kind in ("failure", "error"):
                reasons += [(row, f"{kind}: {name}") for _ in case.iter(kind)]
            reasons += [(row, f"skipped: {why.get('message')}") for why in case.iter("skipped")]
    for (row, reason), times in Counter(reasons).items():
        print(f"{row:>8} {times:3d} x {reason}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
