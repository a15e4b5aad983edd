# SPDX-License-Identifier: GPL-3.0-or-later
"""Track Points, and what can be made of tracked points: bones, constraints, files."""

from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty
from bpy_extras.io_utils import ExportHelper

from ..languages.words import iface, said
from ..points.canonical import PointError
from ..points.markerfiles import WRITERS
from ..scene.body_surface import BodySurface
from ..scene.clip_keys import JOB_KEY
from ..scene.points import person_of, place_of
from ..scene.tracked import TRACKED_KEY, bones_for, clip_collection, sample, tracked
from ..work import running
from ..work.point_tracking import PointTracking
from .operators import guarded, put_on_its_way


class BODYFIELD_OT_track_points(bpy.types.Operator):
    """Follow the points through the whole clip, for everybody in it: an animated empty each, with its uncertainty"""

    bl_idname = "bodyfield.track_points"
    bl_label = "Track Points"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Points, and a person whose clip is known."""
        cls.poll_message_set(iface("Import a video and add points first"))
        return bool(context.scene.bodyfield_points.items) and person_of(context.scene) is not None

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Put the pass on its way."""
        person = person_of(context.scene)
        clip = clip_collection(person.get(JOB_KEY, ""))
        if clip is None:
            raise PointError("The clip of this person is not in the file any more: import it again.")
        places = {item.uid: place_of(item) for item in context.scene.bodyfield_points.items}
        body = BodySurface(person).body_name
        return put_on_its_way(
            self, lambda: PointTracking(running.backend, person[JOB_KEY], clip.name, places, body)
        )


class _NeedsTracked:
    """Operators on the tracked points of the person that the points are shown on."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There must be tracked points."""
        cls.poll_message_set(iface("Press Track Points first"))
        person = person_of(context.scene)
        return person is not None and bool(tracked(person))


class BODYFIELD_OT_export_tracked(_NeedsTracked, bpy.types.Operator, ExportHelper):
    """Write the tracked points of this person over time, as the ending of the file says: TRC, C3D or CSV"""

    bl_idname = "bodyfield.export_tracked"
    bl_label = "Export Tracked Points"

    filename_ext = ".trc"
    check_extension = None
    filter_glob: StringProperty(default="*.trc;*.c3d;*.csv", options={"HIDDEN"})
    format: EnumProperty(
        name="Format",
        description="Kind of file",
        items=(
            (".trc", "TRC", "OpenSim's text file of markers: millimetres, y up"),
            (
                ".c3d",
                "C3D",
                "The binary file of motion capture labs: millimetres, z up, uncertainty as residual",
            ),
            (".csv", "CSV", "A table: metres, z up, with the uncertainty of each point"),
        ),
    )

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write the file."""
        path = Path(bpy.path.abspath(self.filepath))
        if path.suffix.lower() != self.format:
            path = path.with_suffix(self.format)
        sampled = sample(context.scene, person_of(context.scene))
        if sampled is None:
            raise PointError("The tracked points have no keys any more: press Track Points once more.")
        WRITERS[self.format](path, sampled)
        count = len(sampled.names)
        self.report(
            {"INFO"},
            said(
                "{count} points over {frames} frames written to {file}.",
                count=count,
                frames=len(sampled.frames),
                file=path.name,
            ),
        )
        return {"FINISHED"}


class BODYFIELD_OT_bones_for_points(_NeedsTracked, bpy.types.Operator):
    """Make an armature with a bone for each tracked point of this person; the bones follow the points"""

    bl_idname = "bodyfield.bones_for_points"
    bl_label = "Bones for Tracked Points"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Make or renew it."""
        rig = bones_for(person_of(context.scene))
        self.report({"INFO"}, said("{name} has {count} bones.", name=rig.name, count=len(rig.data.bones)))
        return {"FINISHED"}


class BODYFIELD_OT_follow_point(_NeedsTracked, bpy.types.Operator):
    """Let the active object (or pose bone) follow the active point, by a Copy Location constraint"""

    bl_idname = "bodyfield.follow_point"
    bl_label = "Follow Point"
    bl_options = {"REGISTER", "UNDO"}

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Add the constraint."""
        points = context.scene.bodyfield_points
        item = points.items[points.active] if points.active < len(points.items) else None
        empties = {ob[TRACKED_KEY]: ob for ob in tracked(person_of(context.scene))}
        if item is None or item.name not in empties:
            raise PointError("Choose a point in the list that has been tracked.")
        target = empties[item.name]
        follower = context.active_pose_bone or context.active_object
        if follower is None or follower in (target, target.parent):
            raise PointError("Make the object that is to follow the active one first.")
        constraint = follower.constraints.new("COPY_LOCATION")
        constraint.name, constraint.target = f"Follow {item.name}", target
        return {"FINISHED"}
