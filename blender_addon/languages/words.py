# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's texts in other languages: one JSON table a language in `languages/`, English text -> translation.

Blender looks up labels, tooltips and plain literals by itself; texts that are put together go through `iface` (panels,
status bar) or `said` (reports). Sentences that come from the backend or from files stay English.
"""

import json
from pathlib import Path

import bpy

FOLDER = Path(__file__).resolve().parent
LOCALES = {
    "de": ("de", "de_DE"),
    "es": ("es",),
    "fr": ("fr", "fr_FR"),
    "ja": ("ja", "ja_JP"),
    "zh_hans": ("zh_HANS", "zh_CN"),
}
"""Table -> the names that Blender's versions have for its language."""
OWN = "Bodyfield"
CONTEXTS = ("*", "Operator", OWN)
"""Blender looks up the names of operators, and what stands on their buttons, in a context of their own. A word that it
has in its own tables goes before ours, often with another meaning; so what is looked up here has a context of ours."""


def tables() -> dict[str, dict[tuple[str, str], str]]:
    """What Blender wants: locale -> (context, English) -> translation. A table that is damaged is left out."""
    out = {}
    for name, locales in LOCALES.items():
        try:
            words = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        table = {(context, english): word for english, word in words.items() for context in CONTEXTS}
        out |= dict.fromkeys(locales, table)
    return out


def iface(text: str, **values: object) -> str:
    """A text of the interface in the user's language, with `values` put into its {places}."""
    return bpy.app.translations.pgettext_iface(text, OWN).format(**values)


def said(text: str, **values: object) -> str:
    """The same for a report."""
    return bpy.app.translations.pgettext_rpt(text, OWN).format(**values)


def register(package: str) -> None:
    """Hand the tables to Blender; `package`: the add-on's name, under which they are taken back."""
    bpy.app.translations.register(package, tables())


def unregister(package: str) -> None:
    """Undo `register`."""
    bpy.app.translations.unregister(package)
