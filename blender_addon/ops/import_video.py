# SPDX-License-Identifier: GPL-3.0-or-later
"""File > Import > Video as Mocap, cancelling, and going on with an interrupted job."""

import json
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from ..languages.words import OWN
from ..link import localizers
from ..scene.clip import earlier_job
from ..scene.scene_camera import camera_path
from ..shared.frames import MOVIE_SUFFIXES, PICTURE_SUFFIXES
from ..work import running
from ..work.video_import import VideoImport
from .motion_choices import MotionChoices, draw_motion, motion_options
from .operators import guarded, put_on_its_way, under_way

_shown: list[tuple[str, str, str, int]] = []
"""The items last given to Blender, which keeps no reference of its own to their texts."""


def _qualities(_self: object, _context: bpy.types.Context | None) -> list[tuple[str, str, str, int]]:
    found = localizers.choices()
    if found != _shown:
        _shown[:] = found
    return _shown


class MocapChoices(MotionChoices):
    """The settings of an import, shared by the operator and the panel."""

    people: IntProperty(
        name="People", description="How many people to follow at a time", default=4, min=1, max=32
    )
    quality: EnumProperty(
        name="Quality",
        description="What finds the points of the body",
        items=_qualities,
        translation_context=OWN,
        default=localizers.SHIPPED[0][3],
    )
    focal: FloatProperty(
        name="Focal Length",
        description="Focal length in pixels of the clip, if you know it; 0: the field of view says it",
        default=0.0,
        min=0.0,
        max=1e6,
    )
    scene_camera: BoolProperty(
        name="Use Scene Camera",
        description="Take the way of the scene's camera, in metres, as Blender's tracker has solved it for this clip",
    )
    sequence_fps: FloatProperty(
        name="Sequence Rate",
        description="Frames per second of an image sequence",
        default=24.0,
        min=0.1,
        max=1000.0,
    )
    set_scene: BoolProperty(
        name="Set Up Scene",
        description="Take size, frame rate and range of the clip, and make its camera the scene's",
        default=True,
    )
    root_bone: BoolProperty(
        name="Root Bone",
        description="Put the way over the floor and the heading on a bone of their own, as game engines like it",
    )
    existing: EnumProperty(
        name="Earlier Result",
        description="This video was imported into this file before",
        items=(
            ("NEW", "Keep Both", "Leave the earlier result as it is and make a second one"),
            ("REPLACE", "Replace", "Put the new motion on the people that are there; keys of your own stay"),
        ),
    )


CHOICES = (*MocapChoices.__annotations__, *MotionChoices.__annotations__)
"""Names of all settings of an import."""


def choices_to_options(choices: object, preferences: object | None) -> dict[str, object]:
    """The backend's options from a MocapChoices and the add-on's preferences."""
    options: dict[str, object] = {
        "localizer": localizers.localizer(choices.quality),
        "max_people": choices.people,
        **motion_options(choices),
    }
    if choices.focal:
        options |= {"focal_px": float(choices.focal), "fov_deg": None}
    if preferences is not None and preferences.body_file:
        options["body"] = bpy.path.abspath(preferences.body_file)
    return options


def draw_choices(layout: bpy.types.UILayout, choices: object, chosen: bool = False) -> None:
    """The settings as the file browser and the panel show them. `chosen`: how many people is settled already."""
    row = layout.row()
    row.enabled = not chosen
    row.prop(choices, "people")
    layout.prop(choices, "quality")
    draw_motion(layout, choices)
    layout.prop(choices, "focal")
    layout.prop(choices, "scene_camera")
    layout.prop(choices, "root_bone")
    layout.prop(choices, "set_scene")
    if earlier_job(choices.filepath):
        layout.separator()
        layout.label(text="This video is in the file already:", icon="QUESTION")
        layout.prop(choices, "existing", expand=True)


class BODYFIELD_OT_import_video(bpy.types.Operator, ImportHelper, MocapChoices):
    """Follow the people in a video and key them on armatures"""

    bl_idname = "bodyfield.import_video"
    bl_label = "Video as Mocap"
    bl_options = {"REGISTER"}

    filename_ext = ".mp4"
    filter_glob: StringProperty(
        default=";".join(f"*{suffix}" for suffix in (*MOVIE_SUFFIXES, *PICTURE_SUFFIXES)), options={"HIDDEN"}
    )
    job: StringProperty(options={"HIDDEN", "SKIP_SAVE"}, description="A job of the backend to go on with")
    chosen: StringProperty(
        options={"HIDDEN", "SKIP_SAVE"},
        description="The people to follow: the backend's option 'people' as JSON",
    )
    choose_first: BoolProperty(
        name="Choose People First",
        description="Show a frame of the video and click the people to follow, before anything is computed",
        options={"SKIP_SAVE"},
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """A file browser, or a small dialog when a movie was dropped into the view."""
        return self.invoke_popup(context)

    def draw(self, context: bpy.types.Context) -> None:
        """Settings in the file browser's sidebar."""
        self.layout.use_property_split = True
        self.layout.use_property_decorate = False
        draw_choices(self.layout, self)
        self.layout.prop(self, "sequence_fps")
        self.layout.prop(self, "choose_first")

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Put the import on its way."""
        if self.choose_first and not bpy.app.background:
            if (now := running.current()) is not None:
                raise under_way(now)
            return self._choose(context)
        return put_on_its_way(self, lambda: self._import(context))

    def _import(self, context: bpy.types.Context) -> VideoImport:
        options = choices_to_options(self, running.preferences_of(context))
        if self.chosen:
            options["people"] = json.loads(self.chosen)
        new = VideoImport(
            running.backend,
            Path(bpy.path.abspath(self.filepath)) if self.filepath else None,
            options,
            job_id=self.job or None,
            fps=self.sequence_fps,
            scene=context.scene.name,
            set_scene=self.set_scene,
            root_bone=self.root_bone,
            replaces=earlier_job(self.filepath) if self.existing == "REPLACE" and not self.job else None,
        )
        if self.scene_camera and not self.job:
            new.options["camera_path"] = camera_path(context.scene, new.footage)
        return new

    def _choose(self, context: bpy.types.Context) -> set[str]:
        """Leave the settings to the panel and go on there."""
        settings = context.scene.bodyfield
        for name in ("filepath", *CHOICES):
            setattr(settings, name, getattr(self, name))
        return bpy.ops.bodyfield.choose_people("INVOKE_DEFAULT") & {"CANCELLED"} or {"FINISHED"}


class BODYFIELD_OT_cancel(bpy.types.Operator):
    """Stop the import; what is in the scene stays"""

    bl_idname = "bodyfield.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only while something runs."""
        return running.current() is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Cancel here and at the backend."""
        running.current().cancel()
        running.redraw()
        return {"FINISHED"}


class BODYFIELD_OT_report(bpy.types.Operator):
    """Say something to the user from a timer, which has no report of its own"""

    bl_idname = "bodyfield.report"
    bl_label = "Bodyfield"
    bl_options = {"INTERNAL"}

    text: StringProperty()
    level: StringProperty(default="ERROR")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Report."""
        self.report({self.level}, self.text)
        return {"FINISHED"}


class BODYFIELD_FH_movie(bpy.types.FileHandler):
    """Movies dropped into a 3D view"""

    bl_idname = "BODYFIELD_FH_movie"
    bl_label = "Video as Mocap"
    bl_import_operator = "bodyfield.import_video"
    bl_file_extensions = ";".join(MOVIE_SUFFIXES)

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        """3D views only: other editors have their own use of movies."""
        return context.area is not None and context.area.type == "VIEW_3D"
