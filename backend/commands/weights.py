"""`python -m backend weights add FILE… | list | remove NAME`: the official NLF weights of this user."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import DownloadColumn
from rich.table import Column, Table
from rich.text import Text

from backend.commands import console
from backend.errors import JobError
from backend.localizers.nlf import weights as store
from backend.localizers.nlf.weights import Installed
from backend.localizers.nlf.weights.offered import offer_body, offered_body


class Action(StrEnum):
    """What to do."""

    add = "add"
    list = "list"
    remove = "remove"


@console.ends_plainly
def weights(
    action: Action = typer.Argument(..., help="add FILE…, list, or remove NAME…"),
    items: list[str] = typer.Argument(
        None,
        metavar="[FILE|NAME]...",
        help="add: a TorchScript of the official release (nlf_l_multi_0.3.2.torchscript), or nlf_l_crop_0.3.2.pt "
        "and nlf_data_files.zip together. remove: names, see list.",
        show_default=False,
    ),
    name: str = typer.Option(
        None, "--name", help="add: what to call the weights; default from size and version."
    ),
) -> None:
    """Install official NLF weights, list what is installed, or remove it. Nothing in a file is ever run."""
    items = items or []
    if name is not None and action is not Action.add:
        raise JobError("bad_options", f"--name belongs to 'weights add': leave it out of '{action.value}'.")
    if action is Action.add:
        info = _add([Path(i) for i in items], name)
        print(f"{info.name}: NLF-{info.size.upper()} from {info.source}, {info.bytes / 1e6:.0f} MB.")
        print(info.licence)
        print(f"Use it with --localizer {info.name}.")
        if (file := offered_body(info.folder)) is not None:
            print(f"The SMPL-X body in it: --body {file}")
    elif action is Action.list:
        if items:
            raise JobError("bad_options", "'weights list' takes no names: it lists all.")
        _list()
    else:
        if not items:
            raise JobError("bad_options", "Say which weights to remove: 'weights list' shows their names.")
        for item in items:
            store.remove(item)
            print(f"{item} is removed.")


def _add(files: list[Path], name: str | None) -> Installed:
    if not files:
        text = "Say which file to add, such as nlf_l_multi_0.3.2.torchscript of the official NLF release."
        raise JobError("bad_options", text)
    with console.bar(DownloadColumn(), transient=True) as bar:
        task = bar.add_task("Reading", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, description="Converting", completed=done, total=total)

        info = store.add(files, name=name, note=console.say, progress=show)
        if "smplx" in info.bodies and offered_body(info.folder) is None:
            offer_body(store.open_weights(info.name), console.say)
        return info


def _list() -> None:
    whole, broken = store.survey()
    if not whole and not broken:
        print(
            "No weights are installed: 'python -m backend weights add FILE' installs a file of the NLF release."
        )
        return
    whole_name, whole_source = Column("Name", no_wrap=True), Column("Source", overflow="fold")
    table = Table(whole_name, "Model", "Size", whole_source, "Added", "Skeletons", "Bodies")
    for info in whole:
        table.add_row(
            info.name,
            f"NLF-{info.size.upper()}",
            f"{info.bytes / 1e6:.0f} MB",
            Text(info.source),
            info.added,
            str(len(info.skeletons)),
            ", ".join(info.bodies) or "none",
        )
    if whole:
        Console().print(table)
        for licence in sorted({info.licence for info in whole}):
            print(licence)
    for sentence in broken:
        console.complain(sentence)
