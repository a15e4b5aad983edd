"""install.py blender and install.py remove with a real Blender: builds, installs, enables, imports a clip, uninstalls.

    python tests/gui/install_check.py --blender BLENDER --venv FOLDER --work FOLDER [--keep]

FOLDER of --venv: an environment that install.py made; it is deleted at the end unless --keep says so. Everything else
lies below --work, which must be empty or new: the user's Blender folder, Bodyfield's folder, the zip.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CLIP = ROOT / "tests" / "data" / "demo.mp4"


def main() -> int:
    """Exit code 0 when all is as it should be; an AssertionError says what is not."""
    parser = argparse.ArgumentParser()
    for name in ("--blender", "--venv", "--work"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    user, home = args.work / "blender_user", args.work / "home"
    for folder in (user, home):
        folder.mkdir(parents=True)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("BODYFIELD_")}
    environ |= {"BLENDER_USER_RESOURCES": str(user), "BODYFIELD_HOME": str(home)}

    def door(*arguments: object) -> str:
        fixed = [sys.executable, "install.py", *map(str, arguments), "--venv", str(args.venv)]
        command = [*fixed, "--blender", str(args.blender)]
        run = subprocess.run(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, check=True)
        print(run.stdout, end="", flush=True)
        return run.stdout

    assert "has the add-on now" in door("blender", "--out", args.work / "dist")
    (extension,) = user.glob("extensions/user_default/bodyfield")
    fixed = ["-b", "--python-exit-code", "1", "--python", str(HERE / "installed.py"), "--", str(CLIP)]
    run = subprocess.run([args.blender, *fixed], env=environ, stdout=subprocess.PIPE, text=True, check=False)
    said = [
        line.removeprefix("INSTALLED ") for line in run.stdout.splitlines() if line.startswith("INSTALLED ")
    ]
    assert run.returncode == 0 and said, run.stdout[-3000:]
    print(said[0])
    assert Path(json.loads(said[0])["backend"]).is_relative_to(args.venv)

    # As *Set Up Backend* would have left it: Blender deletes the add-on's own folder with the add-on.
    made = user / "extensions" / ".user" / "user_default" / "bodyfield" / "backend" / "environment"
    made.mkdir(parents=True)
    (made / "pyvenv.cfg").touch()
    if args.keep:
        subprocess.run(
            [args.blender, "--command", "extension", "remove", "bodyfield"], env=environ, check=True
        )
    else:
        assert "the add-on is removed" in door("remove", "--yes")
        assert not args.venv.exists() and not (home / "backend.json").exists()
    assert not extension.exists() and not made.exists(), [extension, made]
    packages = [p.name for p in user.glob("extensions/.local/**/site-packages/*")]
    assert not packages, packages
    print(
        "What stays:",
        *(p.relative_to(args.work) for p in sorted(args.work.rglob("*")) if p.is_file()),
        sep="\n  ",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
