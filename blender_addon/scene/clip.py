# SPDX-License-Identifier: GPL-3.0-or-later
"""One clip in the scene: a collection with the matched camera and, per person, armature, mesh and action.

`ClipScene` takes the body and the results of a job as they come and can be asked at any time to bring the scene
up to date. It keeps no reference to any data-block: what it made carries the job's id, and what was lost by an
undo, a deletion or a file load is made again from the results it holds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import bpy
import numpy as np

from ..axes import level_rotation, root_in_smpl_axes, rotvec_to_quaternion, world_shift
from ..frames import Clip
from ..job import BodyMessage, CameraInfo, Result
from ..rootmotion import split_root
from ..timing import scene_frames
from . import camera as cameras
from . import uncertainty
from .armature import new_armature
from .body_surface import remember_body
from .clip_keys import (
    BETAS_KEY,
    DONE_KEY,
    JOB_KEY,
    RATE_KEY,
    ROOT_BONE,
    ROOT_KEY,
    SOURCE_KEY,
    TRACK_KEY,
    WORLD_KEY,
)
from .keys import Channel, bone_path, users_key_count, write_keys
from .mesh import add_expressions, add_weights, new_mesh, set_rest_shape
from .rest import RestBody, rest_body

GROWTH = 1.2
"""Unfinished tracks are keyed again when they grew by this factor, so that long clips stay cheap."""

_NAME_LENGTH = 40
_SAME_PLACE = 1e-6


@dataclass(frozen=True)
class Footage:
    """What the scene needs to know of a clip. `file`: the movie or the first picture, None when it is not
    there; `fps`: average rate; `pictures`: how many a sequence has, None for a movie."""

    name: str
    file: Path | None
    width: int
    height: int
    fps: float
    pictures: int | None = None

    @classmethod
    def of(cls, clip: Clip) -> "Footage":
        """From an opened clip."""
        files = getattr(clip, "files", None)
        file = files[0][1] if files else clip.path
        pictures = len(files) if files else None
        name = clip.path.stem or clip.name
        return cls(name, Path(file).absolute(), clip.width, clip.height, clip.fps, pictures)


@dataclass(eq=False)
class _Person:
    """What is known of one track: all its results, and what of them is in the scene already."""

    track: int
    parts: list[Result]
    final: bool = False
    keyed: int = 0

    def whole(self) -> Result:
        """The parts joined in time; shape and camera of the newest."""
        if len(self.parts) > 1:
            joined = {
                name: np.concatenate([getattr(part, name) for part in self.parts])
                for name in (
                    "frames",
                    "times",
                    "boxes",
                    "pose",
                    "trans",
                    "expression",
                    "joints",
                    "joint_uncertainty",
                )
            }
            self.parts = [replace(self.parts[-1], **joined)]
        return self.parts[0]


class ClipScene:
    """Builds and updates one clip's collection. `job`: the backend's id of the job, kept in the file; `root_bone`: put
    the way over the floor on a bone of its own; `replaces`: an earlier job of the same clip whose objects are taken
    over, and not before everything is final, so that a run which fails leaves them as they were."""

    def __init__(
        self,
        footage: Footage,
        job: str,
        *,
        scene: str | None = None,
        set_scene: bool = True,
        root_bone: bool = False,
        replaces: str | None = None,
    ) -> None:
        self.footage, self.job = footage, job
        self.set_scene, self.root_bone, self.replaces = set_scene, root_bone, replaces
        self.footage_shown = True
        self._scene = scene
        self._body: BodyMessage | None = None
        self._people: dict[int, _Person] = {}
        self._shift, self._level = np.zeros(3), np.eye(3)
        self._stale = True

    # What comes from the job ---------------------------------------------------------------------------

    def set_body(self, body: BodyMessage) -> None:
        """The body of all persons; needed before anything is built."""
        self._body = body

    @property
    def body(self) -> BodyMessage | None:
        """The body of all persons, once it came."""
        return self._body

    def add(self, results: Iterable[Result]) -> None:
        """Take in results. A final one replaces all earlier ones of its track."""
        for result in results:
            person = self._people.get(result.track)
            if person is None or result.final:
                person = self._people[result.track] = _Person(result.track, [])
            elif person.final:
                continue
            if len(result.frames):
                person.parts.append(result)
                person.final = result.final

    def drop_unfinished(self) -> None:
        """At the end of a job: tracks without a final result were mistakes and leave the scene."""
        for track in [t for t, person in self._people.items() if not person.final]:
            del self._people[track]
            self._remove(track)

    # What goes into the scene --------------------------------------------------------------------------

    @property
    def people(self) -> list[int]:
        """Tracks that have any frames."""
        return sorted(t for t, person in self._people.items() if person.parts)

    def blocked(self) -> str | None:
        """One sentence when the user is editing one of our objects, which must not be changed under them."""
        busy = [ob for ob in self._objects() if ob.mode not in ("OBJECT", "POSE")]
        return (
            f"Leave {busy[0].mode.title()} Mode of {busy[0].name} to let the import go on." if busy else None
        )

    def refresh(self, force: bool = False) -> bool:
        """Bring the scene up to date; True when something was written. `force`: also small growth."""
        ready = {t: self._people[t].whole() for t in self.people}
        if self._body is None or not ready or self.blocked():
            return False
        if self.replaces is not None:
            if not all(r.final for r in ready.values()):
                return False
            self._take_over(self.replaces)
            self.replaces = None
        missing = {t for t in ready if self.armature(t) is None}
        stale = {t for t in ready if self._needs_keys(t, ready[t], force)} | missing
        if not stale and not self._stale:
            return False
        level = self._level_of(ready.values())
        shift = world_shift([ready[track].joints for track in sorted(ready)], level)
        moved = np.abs(shift - self._shift).max() > _SAME_PLACE or not np.allclose(level, self._level)
        if moved:
            stale, self._shift, self._level = set(ready), shift, level
        collection = self._collection()
        collection[WORLD_KEY] = [*self._shift.tolist(), *self._level.ravel().tolist()]
        collection[RATE_KEY] = float(self.footage.fps)
        if self.footage.file is not None:
            collection[SOURCE_KEY] = str(self.footage.file)
        camera = next(iter(ready.values())).camera
        for track in sorted(stale):
            self._write_person(collection, ready[track])
        last = max(scene_frames(r.frames, r.times, self.footage.fps)[-1] for r in ready.values())
        self._write_camera(collection, camera, int(np.ceil(last)))
        self._stale = False
        return True

    def choose_main_person(self) -> None:
        """Select whoever is in the clip longest, as importers select what they made; not in a mode of its own."""
        longest = max(self.people, key=lambda t: len(self._people[t].whole().frames), default=None)
        main = self.armature(longest) if longest is not None else None
        active = bpy.context.view_layer.objects.active
        if main is None or (active is not None and active.mode != "OBJECT"):
            return
        for layer in self._target_scene().view_layers:
            if main.name in layer.objects:
                for ob in layer.objects:
                    ob.select_set(ob == main, view_layer=layer)
                layer.objects.active = main

    def mark_done(self) -> None:
        """Let the file know that everything of the job is in it."""
        if collection := self._find_collection():
            collection[DONE_KEY] = True

    def users_keys(self) -> int:
        """How many keys of the user's own are on the people."""
        return sum(users_key_count(ob) for ob in self._objects() if ob.type == "ARMATURE")

    def refresh_points(self) -> None:
        """Put the user's points on the bodies as they are now; a new shape moves them."""
        from .points import riding, show_points

        scene = self._target_scene()
        if riding(scene):
            show_points(scene)

    def armature(self, track: int) -> bpy.types.Object | None:
        """The armature object of a track, if the scene holds it."""
        found = (ob for ob in self._objects() if ob.type == "ARMATURE" and ob.get(TRACK_KEY) == track)
        return next(found, None)

    def _needs_keys(self, track: int, result: Result, force: bool) -> bool:
        person = self._people[track]
        grown = len(result.frames) > person.keyed
        return grown and (force or person.final or len(result.frames) >= GROWTH * person.keyed)

    def _level_of(self, results: Iterable[Result]) -> np.ndarray:
        """The turn that makes the clip's world level: that of a final result, once there is one."""
        final = [r for r in results if r.final]
        return level_rotation(final[0].up) if final else np.eye(3)

    def _objects(self) -> list[bpy.types.Object]:
        found = self._find_collection()
        return [ob for ob in found.objects if ob.get(JOB_KEY) == self.job] if found else []

    def _find_collection(self) -> bpy.types.Collection | None:
        return next((c for c in bpy.data.collections if c.get(JOB_KEY) == self.job), None)

    def _take_over(self, job: str) -> None:
        """Let everything of an earlier job be this one's."""
        old = next((c for c in bpy.data.collections if c.get(JOB_KEY) == job), None)
        for block in (old, *old.all_objects) if old is not None else ():
            if block.get(JOB_KEY) == job:
                block[JOB_KEY] = self.job

    def _target_scene(self) -> bpy.types.Scene:
        return bpy.data.scenes.get(self._scene or "") or bpy.context.scene or bpy.data.scenes[0]

    def _collection(self) -> bpy.types.Collection:
        found = self._find_collection()
        if found is None:
            found = bpy.data.collections.new(self.footage.name[:_NAME_LENGTH])
            found[JOB_KEY] = self.job
            self._target_scene().collection.children.link(found)
        return found

    def _write_person(self, collection: bpy.types.Collection, result: Result) -> None:
        rest = rest_body(self._body, result.betas)
        name = f"{self.footage.name[:_NAME_LENGTH]} person {result.track}"
        armature = self.armature(result.track)
        if armature is None:
            armature = bpy.data.objects.new(name, new_armature(name, rest, root=self.root_bone))
            armature[ROOT_KEY] = self.root_bone
            self._own(armature, collection, result.track)
            self._add_mesh(collection, armature, rest)
        else:
            old = armature.data
            # As it was chosen first: keys of the user's on the pelvis are meant relative to what it hangs on.
            armature.data = new_armature(name, rest, root=bool(armature.get(ROOT_KEY)))
            bpy.data.armatures.remove(old)
            armature.data.name = name
            for child in self._meshes(result.track):
                set_rest_shape(child.data, rest)
        for key, text in (("body", self._body.name), ("licence", self._body.licence_note)):
            armature[f"bodyfield_{key}"] = text
        armature[BETAS_KEY] = np.asarray(result.betas, float).tolist()
        uncertainty.declare(armature, result)
        for mesh in self._meshes(result.track):
            uncertainty.paint_mean(mesh, rest, result)
        self._write_keys(armature, rest, result)
        self._people[result.track].keyed = len(result.frames)

    def _add_mesh(self, collection: bpy.types.Collection, armature: bpy.types.Object, rest: RestBody) -> None:
        mesh = bpy.data.objects.new(f"{armature.name} body", new_mesh(f"{armature.name} body", rest))
        self._own(mesh, collection, armature[TRACK_KEY])
        mesh.parent = armature
        add_weights(mesh, rest)
        mesh.modifiers.new("Armature", "ARMATURE").object = armature
        remember_body(mesh, armature, self._body)

    def _write_keys(self, armature: bpy.types.Object, rest: RestBody, result: Result) -> None:
        root, position = root_in_smpl_axes(result.pose[:, 0], result.trans, rest.joints[0], self._level)
        position += self._shift
        rotations = rotvec_to_quaternion(result.pose)
        rotations[:, 0] = root
        frames = scene_frames(result.frames, result.times, self.footage.fps)
        names = rest.joint_names
        location = position - rest.joints[0]
        channels = []
        if armature.get(ROOT_KEY):
            turn, place, rotations[:, 0], location = split_root(root, position, rest.joints[0])
            channels = [
                Channel(bone_path(ROOT_BONE, "location"), place, ROOT_BONE),
                Channel(bone_path(ROOT_BONE, "rotation_quaternion"), turn, ROOT_BONE, quaternion=True),
            ]
        channels.append(Channel(bone_path(names[0], "location"), location, names[0]))
        channels += [
            Channel(bone_path(name, "rotation_quaternion"), rotations[:, i], name, quaternion=True)
            for i, name in enumerate(names)
        ]
        # A new armature has no pose until Blender next evaluates it; its bones then start as QUATERNION.
        for bone in armature.pose.bones if armature.pose else ():
            bone.rotation_mode = "QUATERNION"
        write_keys(armature, armature.name, channels + uncertainty.channels(result), frames)
        if np.any(result.expression):
            for mesh in self._meshes(result.track):
                self._write_expression(mesh, rest, result, frames)

    def _write_expression(
        self, mesh: bpy.types.Object, rest: RestBody, result: Result, frames: np.ndarray
    ) -> None:
        names = add_expressions(mesh, rest)
        values = zip(names, result.expression.T, strict=False)
        channels = [
            Channel(f'key_blocks["{name}"].value', column[:, None], "Expression") for name, column in values
        ]
        write_keys(mesh.data.shape_keys, f"{mesh.name} expression", channels, frames)

    def _write_camera(self, collection: bpy.types.Collection, info: CameraInfo, last_frame: int) -> None:
        camera = next((ob for ob in self._objects() if ob.type == "CAMERA"), None)
        if camera is None:
            name = f"{self.footage.name[:_NAME_LENGTH]} camera"
            camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
            self._own(camera, collection, 0)
            if self.footage.file is not None:
                size = (info.width, info.height)
                self.footage_shown = cameras.show_footage(
                    camera.data, self.footage.file, size, self.footage.pictures
                )
        cameras.set_intrinsics(camera.data, info)
        cameras.place_camera(camera, self._shift, self._level)
        if self.set_scene:
            scene = self._target_scene()
            scene.camera = camera
            cameras.set_picture(scene, info)
            cameras.set_time(scene, self.footage.fps, last_frame)

    def _own(self, ob: bpy.types.Object, collection: bpy.types.Collection, track: int) -> None:
        ob[JOB_KEY], ob[TRACK_KEY] = self.job, track
        collection.objects.link(ob)

    def _meshes(self, track: int) -> list[bpy.types.Object]:
        return [ob for ob in self._objects() if ob.type == "MESH" and ob.get(TRACK_KEY) == track]

    def _remove(self, track: int) -> None:
        for ob in [o for o in self._objects() if o.get(TRACK_KEY) == track]:
            data, action = ob.data, ob.animation_data.action if ob.animation_data else None
            bpy.data.objects.remove(ob)
            for block in (data, action):
                if block is not None and block.users == 0:
                    bpy.data.batch_remove([block])
