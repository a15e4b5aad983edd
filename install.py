"""Bodyfield's front door: python install.py demo | test | extension | blender | doctor | setup | remove.

Standard library only; what stands behind it is in the folder installer/. Everything that gets installed goes
into a virtual environment of its own, `.venv` beside this file, in the versions that pyproject.toml names.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - a sentence for whoever starts this with an old Python
    sys.exit(
        "Bodyfield needs Python 3.11 or newer; best is 3.11, for which Blender's own Python module exists."
    )

import argparse
import contextlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from installer import ROOT, SetupError
from installer.blenders import (
    OLDEST,
    all_blenders,
    ask,
    candidates,
    install_into,
    remove_from,
    validate_extension,
)
from installer.demo import CLIP, run_demo
from installer.environment import Environment, set_up, write_locator
from installer.extension import PIP_PLATFORMS, build, this_platform
from installer.pins import nvidia_gpu, pins
from installer.removal import delete, what_is_there

PRODUCT = ("base", "blender")


def setup(args: argparse.Namespace) -> int:
    """Make the environment and tell Blender's add-on where it is."""
    env = set_up(args, PRODUCT)
    print(f"Bodyfield is set up in {env.folder}; Blender's add-on finds it through {write_locator(env)}.")
    return 0


def demo(args: argparse.Namespace) -> int:
    """The whole road on one clip."""
    video, out = Path(args.video).absolute(), Path(args.out).absolute()
    if not video.exists():
        raise SetupError(f"There is no file {video}: give the path of a video.")
    if out.exists() and not out.is_dir():
        raise SetupError(f"{out} is a file: give the name of a folder with --out.")
    env = set_up(args, PRODUCT)
    write_locator(env)
    summary = run_demo(env, video, out, args.blender)
    print(f"{summary['frames']} frames, {summary['people']} people, {summary['seconds_total']:.0f} s:")
    for name in summary["files"]:
        print(f"  {out / name} ({(out / name).stat().st_size / 1e6:.2f} MB)")
    return 0


def test(args: argparse.Namespace) -> int:
    """ruff, then the test suite, whole or its quick part; pytest's own line is the last one."""
    env = set_up(args, (*PRODUCT, "test", "fbx"))
    chosen = ["-m", "not slow"] if args.quick else []
    checks = [["ruff", "check", "."], ["ruff", "format", "--check", "."]]
    suites = [[*chosen, *args.pytest]]
    if not args.pytest and (os.cpu_count() or 1) > 1:
        # Most of a test is waiting: two halves side by side take two thirds of the time.
        suites = [[*chosen, *half] for half in halves(ROOT / "tests")]
    with tempfile.TemporaryDirectory(prefix="bodyfield-test-", ignore_cleanup_errors=True) as home:
        environ = {
            # Threads that wait by spinning take the cores from what they wait for.
            "OMP_WAIT_POLICY": "PASSIVE",
            **os.environ,
            # The user's own jobs and backend have no say in tests.
            "BODYFIELD_HOME": home,
        }
        codes = [
            subprocess.run([str(env.python), "-m", *c], cwd=ROOT, env=environ, check=False).returncode
            for c in checks
        ]
        tested = side_by_side([[str(env.python), "-m", "pytest", *s] for s in suites], environ)
    return max(tested, key=abs) or max(codes)


FIRST_HALF = ("addon", "blender", "fit", "install", "pipeline", "serve")
"""Folders of `tests/` that together take about as long as all others."""


def halves(tests: Path) -> list[list[str]]:
    """Everything in `tests` that holds tests, in two parts."""
    places = sorted(p for p in tests.iterdir() if p.name.startswith("test_") or any(p.glob("**/test_*.py")))
    first = [p.relative_to(ROOT).as_posix() for p in places if p.name in FIRST_HALF]
    rest = [p.relative_to(ROOT).as_posix() for p in places if p.name not in FIRST_HALF]
    return [first, rest]


def side_by_side(commands: list[list[str]], environ: dict[str, str]) -> list[int]:
    """Exit codes of commands that run at once. The first is heard while it runs, the others when it has ended."""
    with contextlib.ExitStack() as stack:
        others = []
        for command in commands[1:]:
            said = stack.enter_context(tempfile.TemporaryFile())
            run = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=said, stderr=subprocess.STDOUT)
            stack.callback(run.kill)
            others.append((run, said))
        codes = [subprocess.run(commands[0], cwd=ROOT, env=environ, check=False).returncode]
        for run, said in others:
            codes.append(run.wait())
            said.seek(0)
            sys.stdout.write(said.read().decode(errors="replace"))
            sys.stdout.flush()
        return codes


def extension(args: argparse.Namespace) -> int:
    """The zip that Blender installs, checked by Blender's own tool."""
    wanted = args.platform or [this_platform(platform.system(), platform.machine())]
    env = set_up(args, PRODUCT)
    for name in PIP_PLATFORMS if "all" in wanted else dict.fromkeys(wanted):
        package = build(env, name, Path(args.out).absolute())
        validate_extension(env, package, args.blender)
        print(f"{package} ({package.stat().st_size / 1e6:.1f} MB), accepted by Blender's own check")
    return 0


def blender(args: argparse.Namespace) -> int:
    """Everything for Blender: the environment, the zip, and the zip installed into every Blender found."""
    found = all_blenders(args.blender)
    env = set_up(args, PRODUCT)
    package = build(env, this_platform(platform.system(), platform.machine()), Path(args.out).absolute())
    for one in found:
        install_into(one, package)
        print(f"{one} has the add-on now: open its 3D view's sidebar (N), tab Bodyfield.")
    print(f"The backend is in {env.folder}; the add-on finds it through {write_locator(env)}.")
    return 0


def remove(args: argparse.Namespace) -> int:
    """The add-on out of every Blender, then the environment and the add-on's way to it; jobs only with --jobs."""
    there = what_is_there(Environment(args), args.jobs)
    named = [Path(args.blender)] if args.blender else candidates()
    blenders = [b for b in map(ask, named) if b and b.version >= OLDEST]
    print("This will be deleted:", *(f"  {path} ({size})" for path, size in there), sep="\n")
    print(*(f"  the add-on in {b}, with what Set Up Backend made there" for b in blenders), sep="\n")
    if not args.yes:
        if not sys.stdin.isatty():
            raise SetupError("Nothing was deleted: add --yes to do it.")
        if input("Delete it? [y/N] ").strip().lower() not in ("y", "yes"):
            print("Nothing was deleted.")
            return 0
    for one in blenders:
        print(f"{one}: {'the add-on is removed' if remove_from(one) else 'the add-on was not installed'}.")
    delete([path for path, _ in there])
    print(
        "Everything on this list is gone." if args.jobs else "Done; jobs, logs and weights of your own stay."
    )
    return 0


def doctor(args: argparse.Namespace) -> int:
    """What is there and what is missing; works before set-up too."""
    env = Environment(args)
    python = ".".join(map(str, sys.version_info[:2]))
    module = pins("blender")
    blenders = [str(b) for b in map(ask, [Path(args.blender)] if args.blender else candidates()) if b]
    print(f"Python {platform.python_version()} on {platform.platform()}")
    print(f"NVIDIA GPU: {nvidia_gpu() or 'none found'}")
    print(f"Free disk space: {shutil.disk_usage(ROOT).free / 1e9:.0f} GB")
    print(f"Blender's Python module for Python {python}: {module[0] if module else 'there is none'}")
    for line in blenders or ["no Blender found (--blender PATH names one)"]:
        print(f"Blender: {line}")
    missing = 0
    if not module and not blenders:
        print("Missing: run this with Python 3.11 or 3.13, or install Blender 4.2 or newer.")
        missing = 1
    if not env.python.exists() or not env.version("torch"):
        print("Missing: nothing is installed yet; run 'python install.py setup'.")
        return 1
    print(f"Environment: {env.folder}", flush=True)
    backend = subprocess.run([str(env.python), "-m", "backend", "doctor"], cwd=ROOT, check=False)
    return backend.returncode or missing


def parser() -> argparse.ArgumentParser:
    """The command line; every option can be given as an environment variable BODYFIELD_<OPTION> too."""
    shared = argparse.ArgumentParser(add_help=False)
    group = shared.add_argument_group("where things come from and go")

    def option(name: str, default: str | None = None, **more: str) -> None:
        value = os.environ.get("BODYFIELD_" + name.upper().replace("-", "_"), default)
        group.add_argument("--" + name, default=value, **more)

    option(
        "venv", str(ROOT / ".venv"), metavar="DIR", help="folder of the private environment (default: .venv)"
    )
    option("torch", metavar="VERSION", help="another version of PyTorch than the pinned one")
    option("torch-index", metavar="URL", help="package index for PyTorch only")
    option("index", metavar="URL", help="package index for everything")
    option("wheels", metavar="DIR", help="install from this folder of wheels, without a network")
    option("blender", metavar="PATH", help="use this Blender in place of Blender's Python module")

    top = argparse.ArgumentParser(
        prog="python install.py", description="Video in, an animated body in Blender out."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(run, words: str) -> argparse.ArgumentParser:
        made = commands.add_parser(run.__name__, help=words, description=words, parents=[shared])
        made.set_defaults(run=run)
        return made

    sub = command(
        demo, "turn the shipped clip, or VIDEO, into demo_out/ (.fbx, .blend, overlay video, summary)"
    )
    sub.add_argument("video", nargs="?", default=str(CLIP), metavar="VIDEO")
    sub.add_argument(
        "--out", default="demo_out", metavar="DIR", help="where the results go (default: demo_out)"
    )
    sub = command(test, "check the style and run the whole test suite; other arguments go to pytest")
    sub.add_argument("--quick", action="store_true", help="only the part that takes under 3 minutes")
    sub = command(extension, "build the zip that Blender installs")
    sub.add_argument(
        "--platform", action="append", choices=[*PIP_PLATFORMS, "all"], help="default: this machine's"
    )
    sub.add_argument("--out", default="dist", metavar="DIR", help="where the zip goes (default: dist)")
    sub = command(
        blender, "set up, and install the add-on into every Blender found (or the one of --blender)"
    )
    sub.add_argument("--out", default="dist", metavar="DIR", help="where the zip goes (default: dist)")
    command(doctor, "say what is installed, which device will be used and what is missing")
    command(setup, "only make the private environment")
    sub = command(
        remove, "remove the add-on from every Blender, and the environment; lists what goes and asks first"
    )
    sub.add_argument("--jobs", action="store_true", help="delete jobs and logs too")
    sub.add_argument("--yes", action="store_true", help="do not ask")
    return top


def main(arguments: list[str]) -> int:
    """Exit code: 0 done, 1 failed (one sentence on stderr), 2 wrong arguments, 130 stopped by Ctrl-C."""
    top = parser()
    args, rest = top.parse_known_args(arguments)
    if rest and args.command != "test":
        top.error(f"there is no option {rest[0]}")
    args.pytest = [r for r in rest if r != "--"]
    if home := os.environ.get("BODYFIELD_HOME"):
        os.environ["BODYFIELD_HOME"] = str(Path(home).absolute())  # children have another working folder
    try:
        return args.run(args)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; run the same command again to continue from here.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
