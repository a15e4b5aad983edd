"""The private virtual environment: made once, reused, and continued where a set-up was interrupted."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

from installer import ROOT, SetupError
from installer.files import aside
from installer.pins import nvidia_gpu, pins, torch_refusal
from installer.slim import slim
from installer.terminal import Line

SYSTEM_LIBRARIES = (
    "libx11-6 libxext6 libxfixes3 libxi6 libxrender1 libxxf86vm1 libxkbcommon0 libsm6 libice6 libgl1 "
    "libegl1 libgomp1"
)
"""Debian packages that Blender's Python module links to."""
STATE_FILE = "bodyfield.json"
WORDS = {
    "base": "Installing what the backend needs",
    "blender": "Installing Blender's Python module (400 MB)",
    "test": "Installing the test tools",
    "fbx": "Compiling the independent FBX reader (a few minutes, once)",
}
DISPENSABLE = {
    # No Blender module for this system (an Intel Mac, ARM Linux): an installed Blender does its work.
    "blender": "No matching distribution",
    # No C compiler: the tests that want the reader say that they are skipped.
    "fbx": "",
}
"""Groups that the product can do without, and the word in pip's error that says so."""
IMPORTS = {
    "base": "torch, onnxruntime, zmq, av, cv2, scipy, roma",
    "blender": "bpy",
    "test": "pytest",
    "fbx": "pufbx",
}


class Environment:
    """A virtual environment, what has been finished in it (its state file), and pip's log."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.folder = Path(args.venv).absolute()
        self.args = args
        self.python = self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.log = self.folder / "setup.log"
        try:
            self.state = json.loads((self.folder / STATE_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.state = {}

    @property
    def site(self) -> Path | None:
        """Its site-packages folder, None while there is none."""
        found = [*self.folder.glob("lib/python3*/site-packages"), *self.folder.glob("Lib/site-packages")]
        return found[0] if found else None

    def version(self, package: str) -> str | None:
        """Installed version of a package, read from its metadata folder's name; None when it is not there."""
        folders = list(self.site.glob(f"{package.replace('-', '_')}-*.dist-info")) if self.site else []
        return folders[0].name.removesuffix(".dist-info").rpartition("-")[2] if folders else None

    def finished(self, step: str, wanted: list[str]) -> bool:
        """Whether `step` was finished with just these requirements."""
        return self.python.exists() and self.state.get(step) == _digest(wanted)

    def note(self, step: str, wanted: list[str]) -> None:
        """Write down that `step` is finished; the file is replaced in one move."""
        self.state[step] = _digest(wanted)
        with aside(self.folder / STATE_FILE) as part:
            part.write_text(json.dumps(self.state, indent=1), encoding="utf-8")

    def create(self) -> None:
        """Make the virtual environment, in place of one whose making was interrupted."""
        if self.finished("venv", [sys.version]):
            return
        if "venv" in self.state and self.python.exists():
            raise SetupError(
                f"{self.folder} was not made by this Python ({sys.version.split()[0]}): delete "
                "that folder, or give another one with --venv."
            )
        if self.folder.exists() and any(self.folder.iterdir()) and not (self.folder / "pyvenv.cfg").exists():
            raise SetupError(f"{self.folder} holds other files: give the name of a new folder with --venv.")
        self.state = {}
        try:
            venv.EnvBuilder(with_pip=True, clear=True, symlinks=os.name != "nt").create(self.folder)
        except (OSError, subprocess.CalledProcessError) as err:
            raise SetupError(
                f"No virtual environment could be made in {self.folder} ({err}): check that the folder can "
                "be written and that this Python has its venv module (on Debian: package python3-venv)."
            ) from err
        self.note("venv", [sys.version])

    def pip(self, what: str, arguments: list[str], line: Line) -> None:
        """Run pip with its output in the log. Raises SetupError with pip's first error in one sentence."""
        command = [str(self.python), "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments]
        if self.finished("pip", pins("pip")) and arguments[0] in ("install", "download"):
            # Older ones do not know it: pip then says how many bytes have come.
            command += ["--progress-bar", "raw"]
        name, errors = "", []
        line.show(what)
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"\n$ {' '.join(command)}\n")
            with subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                env={**os.environ, "PYTHONUTF8": "1"},
            ) as child:
                for text in child.stdout:
                    if bytes_come := re.match(r"Progress (\d+) of (\d+)", text):
                        done, total = (int(n) / 1e6 for n in bytes_come.groups())
                        line.show(what, detail=f"{name} {done:.0f} of {total:.0f} MB" if total > 1 else name)
                        continue
                    log.write(text)
                    if found := re.match(r"\s*(?:Collecting|Downloading)\s+(\S+)", text):
                        name = found[1].rpartition("/")[2]
                    elif text.startswith("Installing collected packages:"):
                        # pip is silent then for as long as it takes, minutes for PyTorch.
                        name = f"unpacking {text.count(',') + 1} packages"
                    if text.startswith("ERROR"):
                        errors.append(text.removeprefix("ERROR:").strip().rstrip("."))
                    line.show(what, detail=name)
        if child.returncode:
            reason = errors[-1] if errors else "pip stopped"
            raise SetupError(
                f"{what} failed ({reason}): check the network and the options, then run the same command again, "
                f"it continues from here; all that pip said is in {self.log}."
            )

    def sources(self, torch: bool = False) -> list[str]:
        """pip's options for where packages come from."""
        if self.args.wheels:
            return ["--no-index", "--find-links", str(Path(self.args.wheels).absolute())]
        index = (self.args.torch_index if torch else None) or self.args.index
        return ["--index-url", index] if index else []


def set_up(args: argparse.Namespace, groups: tuple[str, ...], line_class: type[Line] = Line) -> Environment:
    """Make the environment hold `groups` ("base" first); returns at once when it does already. `line_class`: who is
    told how it gets on."""
    env = Environment(args)
    # What was asked for once stays, so that a later run without the option does not install another.
    torch = f"torch=={args.torch}" if args.torch else env.state.get("torch_wanted") or pins("base")[0]
    base = [torch, *pins("base")[1:]]
    wanted = {group: pins(group) if group != "base" else base for group in groups}
    if args.blender:
        wanted.pop("blender", None)
    if all(env.finished(group, lines) for group, lines in wanted.items()):
        return env
    _check_disk(env)
    with line_class() as line:
        line.show("Making a virtual environment")
        env.create()
        if not args.wheels and not env.finished("pip", pins("pip")):
            env.pip("Bringing pip up to date", ["install", *env.sources(), *pins("pip")], line)
            env.note("pip", pins("pip"))
        if not env.finished("torch", [torch]):
            _install_torch(env, torch, line)
        for group, lines in wanted.items():
            if not env.finished(group, lines):
                _install_group(env, group, lines, base, line)
    return env


def _install_group(env: Environment, group: str, lines: list[str], base: list[str], line: Line) -> None:
    """`base` goes along, so that no later group can move a version that the backend is pinned to."""
    if lines:
        wheels = [] if group == "fbx" else ["--only-binary", ":all:"]
        asked = [*lines, *(b for b in base if b not in lines)]
        try:
            env.pip(WORDS[group], ["install", *wheels, *env.sources(), *asked], line)
        except SetupError as error:
            reason = DISPENSABLE.get(group)
            if reason is None or reason not in str(error):
                raise
            line.note(f"{WORDS[group]} was not possible; the set-up continues without it (see {env.log}).")
        else:
            if group == "base" and env.site:
                slim(env.site)
            line.show(f"Loading {IMPORTS[group]} once")
            _check_imports(env, group)
    env.note(group, lines)


def _install_torch(env: Environment, torch: str, line: Line) -> None:
    """Look at pip's plan first: no gigabytes of CUDA on a machine without an NVIDIA GPU."""
    if not nvidia_gpu():
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "plan.json"
            look = [
                "install",
                "--dry-run",
                "--quiet",
                "--report",
                str(report),
                *env.sources(torch=True),
                torch,
            ]
            env.pip("Asking pip which PyTorch it would install", look, line)
            plan = json.loads(report.read_text(encoding="utf-8"))
        refusal = torch_refusal(plan, _torch_size(plan))
        if refusal:
            raise SetupError(refusal)
    env.pip(
        "Installing PyTorch", ["install", "--only-binary", ":all:", *env.sources(torch=True), torch], line
    )
    env.state["torch_wanted"] = torch
    env.note("torch", [torch])


def _torch_size(report: dict) -> float | None:
    """Bytes of the torch wheel in pip's plan, asked with one HEAD request; None when nobody says."""
    urls = [i["download_info"]["url"] for i in report.get("install", []) if i["metadata"]["name"] == "torch"]
    if not urls:
        return None
    try:
        with urllib.request.urlopen(urllib.request.Request(urls[0], method="HEAD"), timeout=20) as answer:
            return float(answer.headers.get("Content-Length") or 0) or None
    except OSError:
        return None


def _check_disk(env: Environment) -> None:
    folder = next(p for p in [env.folder, *env.folder.parents] if p.exists())
    free = shutil.disk_usage(folder).free
    if free < 4e9 and not env.version("torch"):
        raise SetupError(
            f"Set-up needs 4 GB of disk space, and {free / 1e9:.1f} GB are free: make room and run it again."
        )


def _check_imports(env: Environment, group: str) -> None:
    """Load what was installed once, so that a missing system library is found here and named in a sentence."""
    command = [str(env.python), "-c", f"import {IMPORTS[group]}"]
    run = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if run.returncode == 0:
        return
    missing = re.search(r"(lib[\w.+-]+\.so[.\d]*): cannot open", run.stderr)
    if missing and group == "blender":
        raise SetupError(
            f"Blender's module needs the system library {missing[1]}: install it (on Debian: "
            f"apt-get install {SYSTEM_LIBRARIES}) and run the same command again."
        )
    reason = (run.stderr.strip().splitlines() or ["no reason given"])[-1]
    raise SetupError(
        f"{IMPORTS[group]} cannot be loaded ({reason}): delete {env.folder} and run the same command again."
    )


def write_locator(env: Environment) -> Path:
    """Tell Blender's add-on where the backend lives; the add-on's own code says in which file it looks."""
    path = Path(ask_addon("home.locator_path()"))
    locate(path, env.python, ROOT)
    return path


def ask_addon(what: str) -> str:
    """`what`, an expression of the add-on's modules `home`, `process` and `setup`, as text; in a Python of its own, so
    that what runs here stays the standard library. Raises SetupError."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from blender_addon.shared import home; "
        "from blender_addon.link import process, setup; "
    )
    command = [sys.executable, "-X", "utf8", "-c", f"{code}print({what})", str(ROOT)]
    run = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if run.returncode:
        raise SetupError(
            f"The add-on does not say where its files are ({run.stderr.strip().splitlines()[-1]})."
        )
    return run.stdout.strip()


def locate(path: Path, python: Path, root: Path | None) -> None:
    """Write the add-on's locator file: the backend's Python, and the folder that holds `backend` if it is not installed
    in that. Raises SetupError."""
    said = {"python": str(python), "root": str(root) if root else None}
    try:
        with aside(path) as part:
            part.write_text(json.dumps(said, indent=1), encoding="utf-8")
    except OSError as err:
        raise SetupError(
            f"{path} cannot be written ({err.strerror}): set BODYFIELD_HOME to a folder of yours."
        ) from err


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
