"""Every English text that the add-on shows: of its registered classes, and of the literals in its sources."""

import ast
from collections.abc import Iterator
from pathlib import Path

import bpy

import blender_addon

ADDON = Path(blender_addon.__file__).parent
ROOMS = ("ops", "ui", "scene", "work")
CALLS = {"iface": 0, "said": 0, "report": 1, "poll_message_set": 0, "status_text_set": 0, "_draw_text": 1}
"""Functions that show a text, and which argument it is."""
KEYWORDS = ("text", "heading")
NAMES = {
    *("Bodyfield", "FBX", "glTF (.glb)", "BVH", "USD", "TRC", "C3D", "CSV", "COCO 17", "AMASS (.npz)"),
    *(
        "Unity",
        "Unreal",
        "Blender",
        "Maya, MotionBuilder",
        "File Path",
        "Filepath used for exporting the file",
    ),
}
"""Proper names, the same in every language; and Blender's own words, which it translates itself."""


def of_classes() -> Iterator[str]:
    """Names and tooltips of classes, of their properties, and of what these offer."""
    for cls in blender_addon._classes():
        yield getattr(cls, "bl_label", "")
        rna = cls.bl_rna
        if issubclass(cls, bpy.types.Operator):
            space, name = cls.bl_idname.split(".")
            # What an operator is asked for is not on its class but on the type of its settings.
            rna = getattr(getattr(bpy.ops, space), name).get_rna_type()
            if "INTERNAL" not in getattr(cls, "bl_options", ()):
                yield rna.description
        base = {p.identifier for p in rna.base.properties} if rna.base else set()
        for prop in rna.properties:
            if prop.identifier not in base and not prop.is_hidden and prop.identifier != "rna_type":
                yield from _of_property(prop)


def _of_property(prop: bpy.types.Property) -> Iterator[str]:
    # A property without a name of its own is called by its identifier: a thing of ours, not shown.
    if prop.name != prop.identifier:
        yield prop.name
    yield prop.description
    if prop.type == "ENUM":
        for item in prop.enum_items_static:
            yield item.name
            yield item.description


def of_sources() -> Iterator[tuple[str, str]]:
    """(where, text) of the literals that are handed to Blender or to `words`, and of the tables of choices."""
    for room in ROOMS:
        for file in sorted((ADDON / room).glob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                for shown in _shown(node):
                    yield from ((f"{room}/{file.name}:{node.lineno}", t) for t in _texts(shown))


def _shown(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Assign) and "text" in ast.unparse(node.targets[0]).strip("()").split(", ")[:1]:
        yield node.value
    if not isinstance(node, ast.Call):
        return
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in CALLS and len(node.args) > CALLS[name]:
        yield node.args[CALLS[name]]
    for keyword in node.keywords:
        if keyword.arg in KEYWORDS:
            yield keyword.value


def _texts(node: ast.expr) -> Iterator[str]:
    """The literals of an expression; an f-string is given back with a mark, since nobody can look it up."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "f-string"
    elif isinstance(node, ast.Tuple) and node.elts:
        yield from _texts(node.elts[0])
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)


def all_texts() -> set[str]:
    """What a table must hold."""
    found = {*of_classes(), *(text for _, text in of_sources()), *of_tables()}
    return {t for t in found if any(c.isalpha() for c in t) and t not in NAMES and t != "f-string"}


def of_tables() -> Iterator[str]:
    """Choices that are offered from tables."""
    from blender_addon.link import choosing, localizers
    from blender_addon.ops import add_points, setup
    from blender_addon.ui import found
    from blender_addon.work import body_keys, work

    for _, label, tip, _ in localizers.SHIPPED:
        yield from (label, tip)
    yield from work.STAGES.values()
    yield from body_keys.WORDS.values()
    yield from choosing.SAYS.values()
    yield from found.SOURCES.values()
    yield from (choosing.HELP, add_points.HELP, setup.OFFLINE, "Weights that you have added to the backend")
    # Ends of a job, as the panels call them.
    yield from ("done", "failed", "cancelled", "interrupted")
