# SPDX-License-Identifier: GPL-3.0-or-later
"""Corrections of who is who: merge, split, swap, leave out, link across shots. The backend does the end of the job anew
with all corrections of the clip, from what it has kept."""

from collections.abc import Iterable, Mapping

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty

from ..languages.words import iface, said
from ..link import jobstore
from ..scene.clip_keys import JOB_KEY, SHOT_KEY, TRACK_KEY
from ..scene.doubt import next_doubtful
from ..scene.edits import edits_of, with_exclusion
from ..scene.keys import users_key_count
from ..scene.listing import (
    active_person,
    clip_of,
    excluded_collection,
    is_excluded,
    known_frames,
    label_of,
    leave_out,
    people_in,
    span_of,
)
from ..scene.people_items import select
from ..scene.shots import clip_frame
from ..work import running
from ..work.motion_update import MotionUpdate
from .operators import Refused, guarded, put_on_its_way, under_way

_offered: dict[bool, list[tuple[str, str, str]]] = {False: [], True: []}
"""The items last given to Blender, which keeps no reference of its own to their texts."""


def _others(_self: object, context: bpy.types.Context | None) -> list[tuple[str, str, str]]:
    """Everybody of the clip's shot but the active person: two shots have two worlds."""
    return _offer(context, other_shots=False)


def _elsewhere(_self: object, context: bpy.types.Context | None) -> list[tuple[str, str, str]]:
    """Everybody of the clip who is in another shot than the active person."""
    return _offer(context, other_shots=True)


def _offer(context: bpy.types.Context | None, other_shots: bool) -> list[tuple[str, str, str]]:
    person = active_person(context) if context is not None else None
    if person is None:
        return []
    found = [
        (str(ob[TRACK_KEY]), label_of(ob), "")
        for ob in people_in(clip_of(context))
        if ob != person and other_shots == (ob.get(SHOT_KEY, 1) != person.get(SHOT_KEY, 1))
    ]
    kept = _offered[other_shots]
    if found != kept:
        kept[:] = found
    return kept


class NeedsOne:
    """Operators on the person who is active in the list."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Somebody must be selected, and nothing under way."""
        if running.current() is not None:
            cls.poll_message_set(iface("Wait for the end of what is running, or cancel it"))
            return False
        cls.poll_message_set(iface("Select a person in the list"))
        person = active_person(context)
        return person is not None and not is_excluded(person)


class NeedsTwo(NeedsOne):
    """Operators on that person and another one."""

    other: EnumProperty(name="Other Person", description="The other person", items=_others)
    other_shots = False

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask who the other one is."""
        if not _offer(context, self.other_shots):
            self.report({"ERROR"}, said("There is nobody else for this."))
            return {"CANCELLED"}
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, context: bpy.types.Context) -> None:
        """The choice."""
        self.layout.use_property_split = True
        self.layout.prop(self, "other")

    def _tracks(self, context: bpy.types.Context) -> tuple[int, int]:
        """The active person and the other one. Raises Refused."""
        if not self.other:
            raise Refused(said("There is nobody else for this."))
        return int(active_person(context)[TRACK_KEY]), int(self.other)


def _correct(
    operator: bpy.types.Operator, context: bpy.types.Context, edits: Iterable[Mapping], **more: object
) -> set[str]:
    """Let the backend do it; the file keeps the corrections once the result is there. `more`: see `MotionUpdate`.
    Raises Refused and StoreError."""
    job = _job(context)
    message = iface(operator.bl_label)
    return put_on_its_way(
        operator,
        lambda: MotionUpdate(
            running.backend, job, {}, scene=context.scene.name, edits=edits, message=message, **more
        ),
    )


def _job(context: bpy.types.Context) -> jobstore.StoredJob:
    """The finished job of the clip in the list. Raises Refused and StoreError."""
    if (now := running.current()) is not None:
        raise under_way(now)
    clip = clip_of(context)
    if clip is None:
        raise Refused(said("Import a video first."))
    job = jobstore.stored_job(clip[JOB_KEY])
    if not job.finished:
        raise Refused(said("{name} is not finished: resume it first.", name=job.name))
    return job


def merge_losses(person: bpy.types.Object, other: bpy.types.Object | None) -> list[str]:
    """What the user should know before `person` goes into `other`."""
    texts = []
    if count := users_key_count(person):
        text = iface("{count} of your own keys on {name} are lost.", count=count, name=label_of(person))
        texts.append(text)
    if other is not None and (count := len(known_frames(person) & known_frames(other))):
        texts.append(iface("Both are seen in {count} frames: the surer one counts there.", count=count))
    return texts


class BODYFIELD_OT_merge_people(NeedsTwo, bpy.types.Operator):
    """Let the active person and another one be the same person: the other one gets the frames of both"""

    bl_idname = "bodyfield.merge_people"
    bl_label = "Merge"
    bl_options = {"REGISTER"}

    def draw(self, context: bpy.types.Context) -> None:
        """The choice, and what would be lost."""
        super().draw(context)
        person = active_person(context)
        other = next((ob for ob in people_in(clip_of(context)) if str(ob[TRACK_KEY]) == self.other), None)
        for text in merge_losses(person, other):
            self.layout.label(text=text, icon="ERROR")

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """The active person goes into the other one."""
        active, other = self._tracks(context)
        edits = [*edits_of(clip_of(context)), {"op": "merge", "tracks": [other, active]}]
        return _correct(self, context, edits, gone=(active,), then=other)


class BODYFIELD_OT_split_person(NeedsOne, bpy.types.Operator):
    """Make two people of the active one: from the current frame on it is somebody else"""

    bl_idname = "bodyfield.split_person"
    bl_label = "Split Here"
    bl_options = {"REGISTER"}

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """At the current frame."""
        person, clip = active_person(context), clip_of(context)
        now, span = context.scene.frame_current_final, span_of(person)
        if span is None or not span[0] + 0.5 < now <= span[1] + 0.5:
            raise Refused(
                said(
                    "{name} is not seen before and after this frame: go to another one.",
                    name=label_of(person),
                )
            )
        edit = {"op": "split", "track": int(person[TRACK_KEY]), "frame": clip_frame(clip, now)}
        return _correct(self, context, [*edits_of(clip), edit], then=edit["track"])


class BODYFIELD_OT_swap_people(NeedsTwo, bpy.types.Operator):
    """From the current frame on let the active person and another one change places"""

    bl_idname = "bodyfield.swap_people"
    bl_label = "Swap From Here"
    bl_options = {"REGISTER"}

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """At the current frame."""
        clip, tracks = clip_of(context), self._tracks(context)
        now = context.scene.frame_current_final
        spans = [span_of(ob) for ob in people_in(clip) if ob[TRACK_KEY] in tracks]
        if not any(span is not None and now <= span[1] + 0.5 for span in spans):
            raise Refused(said("Neither of the two is seen from this frame on: go to an earlier one."))
        frame = clip_frame(clip, now)
        edit = {"op": "swap", "tracks": list(tracks), "frame": frame}
        return _correct(self, context, [*edits_of(clip), edit], then=tracks[0])


class BODYFIELD_OT_same_person(NeedsTwo, bpy.types.Operator):
    """Say that the active person is somebody in another shot, too"""

    bl_idname = "bodyfield.same_person"
    bl_label = "Same Person"
    bl_options = {"REGISTER"}

    other: EnumProperty(name="Other Person", description="The same person in another shot", items=_elsewhere)
    other_shots = True

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """The one of the earlier shot is named first."""
        clip, tracks = clip_of(context), self._tracks(context)
        shots = {ob[TRACK_KEY]: ob.get(SHOT_KEY, 1) for ob in people_in(clip)}
        edit = {"op": "same", "tracks": sorted(tracks, key=lambda track: (shots[track], track))}
        return _correct(self, context, [*edits_of(clip), edit], then=tracks[0])


class BODYFIELD_OT_exclude_person(bpy.types.Operator):
    """Leave this person out of the result, or take the person in again; all keys are kept"""

    bl_idname = "bodyfield.exclude_person"
    bl_label = "Exclude"
    bl_options = {"REGISTER"}

    track: IntProperty(options={"HIDDEN", "SKIP_SAVE"}, description="Number of the person")
    out: BoolProperty(
        options={"HIDDEN", "SKIP_SAVE"}, description="Whether to leave the person out", default=True
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Nothing may be under way."""
        cls.poll_message_set(iface("Wait for the end of what is running, or cancel it"))
        return running.current() is None

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """At once in the scene; the backend does the rest."""
        _job(context)
        clip, person = clip_of(context), active_person(context)
        if not self.properties.is_property_set("track") and person is not None:
            self.track = person[TRACK_KEY]
        if self.out and [ob[TRACK_KEY] for ob in people_in(clip)] == [self.track]:
            raise Refused(said("Somebody must be left: delete the clip's collection if nobody is wanted."))
        edits = with_exclusion(edits_of(clip), self.track, self.out)
        _put(clip.name, self.track, self.out)
        name, track, out = clip.name, self.track, self.out
        try:
            return _correct(self, context, edits, take_back=lambda: _put(name, track, not out))
        except Refused:
            if running.current() is not None:
                _put(name, track, not out)
            raise


def _put(clip: str, track: int, out: bool) -> None:
    """Take a person out of the scene, or back; by names, since an undo replaces what they belong to."""
    found = bpy.data.collections.get(clip)
    for armature in people_in(found, left_out=True):
        if armature[TRACK_KEY] == track and is_excluded(armature) != out:
            leave_out(found, armature, out)


class BODYFIELD_OT_reset_corrections(bpy.types.Operator):
    """Take back all corrections of this clip's people: names, merges, splits, swaps, links and who was left out"""

    bl_idname = "bodyfield.reset_corrections"
    bl_label = "Reset Corrections"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There must be corrections, and nothing under way."""
        cls.poll_message_set(iface("Nothing was corrected"))
        clip = clip_of(context)
        return running.current() is None and clip is not None and bool(edits_of(clip))

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """All at once."""
        _job(context)
        clip = clip_of(context)
        parked = excluded_collection(clip)
        out = [int(ob[TRACK_KEY]) for ob in people_in(parked)] if parked is not None else []
        name = clip.name
        for track in out:
            _put(name, track, False)
        return _correct(self, context, [], take_back=lambda: [_put(name, track, True) for track in out])


class BODYFIELD_OT_next_doubtful(bpy.types.Operator):
    """Go to the next frame in which it begins to be doubtful who somebody in this clip is"""

    bl_idname = "bodyfield.next_doubtful"
    bl_label = "Go to Next Doubtful Frame"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There must be a clip."""
        return clip_of(context) is not None

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Show the frame and select the person."""
        found = next_doubtful(people_in(clip_of(context)), context.scene.frame_current_final)
        if found is None:
            raise Refused(said("No frame of this clip is doubtful."))
        person, frame = found
        context.scene.frame_set(round(frame))
        select(context, person)
        return {"FINISHED"}


CLASSES = (
    BODYFIELD_OT_merge_people,
    BODYFIELD_OT_split_person,
    BODYFIELD_OT_swap_people,
    BODYFIELD_OT_same_person,
    BODYFIELD_OT_exclude_person,
    BODYFIELD_OT_reset_corrections,
    BODYFIELD_OT_next_doubtful,
)
