# SPDX-License-Identifier: GPL-3.0-or-later
"""Export of one person: FBX for the program that is to read it, and GLB, BVH, USD, AMASS npz."""

from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty
from bpy_extras.io_utils import ExportHelper

from ..export.fbx import export_fbx
from ..export.formats import export_bvh, export_glb, export_npz, export_usd
from ..languages.words import iface, said
from ..scene.person import chosen_person
from ..shared.filenames import safe_name
from .operators import guarded

FBX_PRESETS = (
    ("unity", "Unity", "Metres, y up, no rotation or scale on any node at rest"),
    ("unreal", "Unreal", "Centimetres; a root is the skeleton's first bone, called root"),
    ("maya", "Maya, MotionBuilder", "Centimetres, y up, no rotation or scale on any node at rest"),
    ("blender", "Blender", "As it is here; comes back unchanged"),
)
ROOTS = (
    ("keep", "As It Is", "On the pelvis, or on the root bone if the person has one"),
    (
        "root",
        "On a Root",
        "The way over the floor and the heading go onto a root, the rest stays on the pelvis",
    ),
    ("in_place", "In Place", "Without the way over the floor: the body stays above the origin"),
)
SHAPES = (
    (
        "bake",
        "Baked In",
        "Shape sliders become the body's form; pose correctives are left out, expressions stay keys",
    ),
    (
        "keep",
        "As Blend Shapes",
        "Shape sliders and pose correctives as blend shapes: files of tens of megabytes",
    ),
)
FORMATS = (
    (".glb", "glTF (.glb)", "Skinned body and motion for the web and most engines"),
    (".bvh", "BVH", "Skeleton and motion as text"),
    (".usdc", "USD", "Skinned body and motion for film pipelines"),
    (".npz", "AMASS (.npz)", "SMPL-X pose parameters for research code"),
)


class _ExportsPerson(ExportHelper):
    root: EnumProperty(name="Root Motion", description="Where the way over the floor is", items=ROOTS)
    shape: EnumProperty(
        name="Shape", description="What becomes of shape sliders and correctives", items=SHAPES
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A person must be chosen."""
        cls.poll_message_set(iface("Select the armature or the body of a person"))
        return chosen_person(context) is not None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for the file, which is called as the person is, beside the file that was written last."""
        ending = getattr(self, "format", self.filename_ext)
        self.filepath = suggested(chosen_person(context), self.filepath, ending)
        return super().invoke(context, event)


def suggested(person: bpy.types.Object, last: str, ending: str) -> str:
    """Where somebody is written: beside `last`, the file before, or beside the .blend; nobody else's file is
    overwritten by mistake."""
    beside = last or bpy.data.filepath
    name = (safe_name(person.name) or "person") + ending
    return str(Path(beside).with_name(name)) if beside else name


class BODYFIELD_OT_export_fbx(bpy.types.Operator, _ExportsPerson):
    """Write the active person, with every frame of the scene's range, as FBX"""

    bl_idname = "bodyfield.export_fbx"
    bl_label = "Export Person as FBX"

    filename_ext = ".fbx"
    filter_glob: StringProperty(default="*.fbx", options={"HIDDEN"})
    preset: EnumProperty(name="For", description="The program that is to read the file", items=FBX_PRESETS)

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write the file."""
        path = Path(bpy.path.abspath(self.filepath))
        export_fbx(chosen_person(context), path, self.preset, self.root, self.shape)
        self.report({"INFO"}, said("{name} is written.", name=path.name))
        return {"FINISHED"}


class BODYFIELD_OT_export_motion(bpy.types.Operator, _ExportsPerson):
    """Write the active person, with every frame of the scene's range, as glTF, BVH, USD or AMASS npz"""

    bl_idname = "bodyfield.export_motion"
    bl_label = "Export Person"

    filename_ext = ".glb"
    check_extension = None
    filter_glob: StringProperty(default="*.glb;*.bvh;*.usdc;*.npz", options={"HIDDEN"})
    format: EnumProperty(name="Format", description="Kind of file", items=FORMATS)

    def draw(self, context: bpy.types.Context) -> None:
        """Only what the format knows."""
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "format")
        if self.format != ".npz":
            layout.prop(self, "root")
        if self.format in (".glb", ".usdc"):
            layout.prop(self, "shape")

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write the file."""
        person, path = chosen_person(context), Path(bpy.path.abspath(self.filepath))
        if path.suffix.lower() != self.format:
            path = path.with_suffix(self.format)
        if self.format == ".npz":
            export_npz(person, path)
        elif self.format == ".bvh":
            export_bvh(person, path, self.root)
        else:
            write = export_glb if self.format == ".glb" else export_usd
            write(person, path, self.root, self.shape)
        self.report({"INFO"}, said("{name} is written.", name=path.name))
        return {"FINISHED"}
