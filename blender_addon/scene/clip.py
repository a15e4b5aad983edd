# SPDX-License-Identifier: GPL-3.0-or-later
"""One clip in the scene: a collection with the matched camera and, per person, armature, mesh and action.

`ClipScene` takes the body and the results of a job as they come and can be asked at any time to bring the scene
up to date. It keeps no reference to any data-block: what it made carries the job's id, and what was lost by an
undo, a deletion or a file load is made again from the results it holds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from ..geometry.timing import scene_frames
from ..link.job import BodyMessage, Result
from ..shared.frames import Clip
from ..shared.motion import joined
from ..shared.shot import Shot
from . import camera as cameras
from .camera_keys import Views, camera_steps, still_view, views_of
from .clip_keys import DONE_KEY, JOB_KEY, RATE_KEY, SOURCE_KEY, TRACK_KEY
from .edits import edits_of, keep_edits, names_in, renamed, with_names
from .keys import users_key_steps
from .markers import CUT, DOUBT, put_markers
from .naming import automatic_name, colour_of, identity_of, keeps_name, rename_objects
from .person import Plan, armature_of, find_collection, objects_of, person_steps, remove_object
from .shots import World, cuts, remember, told, worlds_of
from .steps import MARK_KEY, Steps, VanishedError, run

GROWTH = 1.2
"""Unfinished tracks are keyed again when they grew by this factor, so that long clips stay cheap."""

_NAME_LENGTH = 40


@dataclass(frozen=True)
class Footage:
    """What the scene needs to know of a clip."""

    name: str
    """What the user calls it: the file's name without its ending."""
    file: Path | None
    """The movie or the first picture; None when it is not there."""
    width: int
    """Pixels of the upright picture."""
    height: int
    """Pixels of the upright picture."""
    fps: float
    """Average rate."""
    pictures: int | None = None
    """How many a sequence has; None for a movie."""
    length: int | None = None
    """Frames of the clip; None when nobody knows."""
    turned: bool = True
    """Whether the file may lie on its side."""

    @classmethod
    def of(cls, clip: Clip) -> "Footage":
        """From an opened clip."""
        files = getattr(clip, "files", None)
        file = files[0][1] if files else clip.path
        pictures = len(files) if files else None
        name = clip.path.stem or clip.name
        length = max(clip.frame_count or 0, round(clip.duration_s * clip.fps)) or None
        file = Path(file).absolute()
        return cls(name, file, clip.width, clip.height, clip.fps, pictures, length, clip.turned)


@dataclass(eq=False)
class _Person:
    """What is known of one track, and what of that is in the scene already."""

    track: int
    """Number of the person in the job."""
    parts: list[Result]
    """All results, one after the other in time."""
    final: bool = False
    """Whether they are the final ones."""
    keyed: int = 0
    """Frames that are keyed in the scene."""
    world: World | None = None
    """The world in which they are keyed; None before that."""
    mark: str | None = None
    """The mark (`steps.MARK_KEY`) that the armature was left with; None before that."""

    @property
    def count(self) -> int:
        """Frames so far."""
        return sum(len(part.frames) for part in self.parts)

    def whole(self) -> Result:
        """The parts joined in time; shape and camera of the newest."""
        self.parts = [joined(self.parts)]
        return self.parts[0]


def earlier_job(filepath: str) -> str | None:
    """The job of the newest result of this video in the file, if there is one."""
    if not filepath:
        return None
    path = str(Path(bpy.path.abspath(filepath)).absolute())
    jobs = [c[JOB_KEY] for c in bpy.data.collections if JOB_KEY in c and c.get(SOURCE_KEY) == path]
    return max(jobs, default=None)


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
        self._shots: dict[int, Shot] = {}
        self._worlds: dict[int, World] = {}
        self._edits: list[dict] | None = None
        self._names: list[dict] | None = None
        self._stale = True

    # What comes from the job ---------------------------------------------------------------------------

    def set_body(self, body: BodyMessage) -> None:
        """The body of all persons; needed before anything is built."""
        self._body = body

    def set_shots(self, shots: Mapping[int, Shot]) -> None:
        """The shots by their numbers, with the camera of each frame; until then it stands still."""
        if {n: id(one) for n, one in shots.items()} != {n: id(one) for n, one in self._shots.items()}:
            self._shots, self._stale = dict(shots), True

    def set_edits(self, edits: Iterable[Mapping], names: Iterable[Mapping] | None = None) -> None:
        """The corrections of which these results come; the file takes them over with the next ones. `names`: those that
        the file had when the results were asked for; if it has others then, somebody was renamed meanwhile, and those
        count."""
        self._edits = [dict(one) for one in edits]
        self._names = None if names is None else names_in(names)

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
        """Bring the scene up to date at once; True when something was written. `force`: also small growth."""
        return run(self.steps(force))

    def steps(self, force: bool = False) -> Steps[bool]:
        """`refresh` in steps. Don't go on while `blocked`; `add` may be called meanwhile."""
        people = {t: self._people[t] for t in self.people}
        if self._body is None or not people or self.blocked():
            return False
        if self.replaces is not None:
            if not all(person.final for person in people.values()):
                return False
            self._take_over(self.replaces)
            self.replaces = None
        stale = [t for t in people if self._needs_keys(people[t], force)]
        if not stale and not self._stale:
            return False
        # Until the camera stands where it belongs too: these steps may be dropped between the last person and it.
        self._stale = True
        ready = {track: person.whole() for track, person in people.items()}
        self._worlds = worlds_of(ready.values(), self._shots, told(find_collection(self.job)))
        yield
        while True:
            try:
                yield from self._write(people, ready, force)
                return True
            except VanishedError:
                # An undo or a deletion: whoever has not the mark of what we wrote last is written again.
                yield

    def _write(self, people: dict[int, _Person], ready: dict[int, Result], force: bool) -> Steps[None]:
        last = max(scene_frames(r.frames, r.times, self.footage.fps)[-1] for r in ready.values())
        for track, person in people.items():
            world = self._worlds[int(ready[track].shot[0])]
            if not self._needs_keys(person, force) and person.world.same(world):
                continue
            person.keyed, person.mark = 0, None
            self._collection()
            plan = self._plan(ready, track, max(float(last), float(self.footage.length or 0)))
            person.mark = yield from person_steps(plan, self._collection)
            person.keyed, person.world = len(ready[track].frames), world
            yield
        if any(self._mark_of(track) != person.mark for track, person in people.items()):
            raise VanishedError
        final = all(person.final for person in people.values())
        remember(self._collection(), self._worlds, self._shots, final)
        if final and self._edits is not None:
            keep_edits(self._collection(), self._new_edits())
        self._give_names(ready)
        yield from self._write_camera(next(iter(ready.values())), int(np.ceil(last)))
        put_markers(self._target_scene(), self.job, CUT, cuts(self._collection()))
        self._stale = False

    def _plan(self, ready: Mapping[int, Result], track: int, last: float) -> Plan:
        persons = {t: int(r.person[0]) for t, r in ready.items()}
        return Plan(
            self.job,
            self._name_of(ready[track]),
            colour_of(identity_of(track, persons)),
            self.footage.fps,
            self.root_bone,
            self._body,
            ready[track],
            self._worlds[int(ready[track].shot[0])],
            last,
        )

    def _name_of(self, result: Result) -> str:
        edits = self._new_edits()
        automatic = automatic_name(self.footage.name[:_NAME_LENGTH], result.track, int(result.shot[0]))
        return renamed(edits, result.track) or automatic

    def _new_edits(self) -> list[dict]:
        """The corrections as the file is to have them."""
        have = edits_of(find_collection(self.job))
        if self._edits is None:
            return have
        if self._names is None or names_in(have) == self._names:
            return self._edits
        return with_names(self._edits, names_in(have))

    def _give_names(self, ready: Mapping[int, Result]) -> None:
        for track, result in ready.items():
            armature, name = self.armature(track), self._name_of(result)
            if armature is not None and not keeps_name(armature, name):
                rename_objects(armature, name)

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
        if collection := find_collection(self.job):
            collection[DONE_KEY] = True

    def users_keys(self) -> int:
        """How many keys of the user's own are on the people."""
        return run(self.users_keys_steps())

    def users_keys_steps(self) -> Steps[int]:
        """`users_keys` in steps."""
        count = 0
        for name in [ob.name for ob in self._objects() if ob.type == "ARMATURE"]:
            count += yield from users_key_steps(lambda name=name: bpy.data.objects.get(name))
            yield
        return count

    def refresh_points(self) -> None:
        """Put the user's points on the bodies as they are now; a new shape moves them."""
        from .points import riding, show_points

        scene = self._target_scene()
        if riding(scene):
            show_points(scene)

    def armature(self, track: int) -> bpy.types.Object | None:
        """The armature object of a track, if the scene holds it."""
        return armature_of(self.job, track)

    def _needs_keys(self, person: _Person, force: bool) -> bool:
        if person.mark is None or self._mark_of(person.track) != person.mark:
            return True
        grown = person.count > person.keyed
        return grown and (force or person.final or person.count >= GROWTH * person.keyed)

    def _mark_of(self, track: int) -> str | None:
        armature = self.armature(track)
        return armature.get(MARK_KEY) if armature is not None else None

    def _objects(self) -> list[bpy.types.Object]:
        return objects_of(self.job)

    def _take_over(self, job: str) -> None:
        """Let everything of an earlier job be this one's."""
        for kind in (CUT, DOUBT):
            put_markers(None, job, kind, [])
        old = next((c for c in bpy.data.collections if c.get(JOB_KEY) == job), None)
        for block in (old, *old.all_objects) if old is not None else ():
            if block.get(JOB_KEY) == job:
                block[JOB_KEY] = self.job

    def _target_scene(self) -> bpy.types.Scene:
        return bpy.data.scenes.get(self._scene or "") or bpy.context.scene or bpy.data.scenes[0]

    def _collection(self) -> bpy.types.Collection:
        found = find_collection(self.job)
        if found is None:
            found = bpy.data.collections.new(self.footage.name[:_NAME_LENGTH])
            found[JOB_KEY] = self.job
            self._target_scene().collection.children.link(found)
        found[RATE_KEY] = float(self.footage.fps)
        if self.footage.file is not None:
            found[SOURCE_KEY] = str(self.footage.file)
        return found

    def _write_camera(self, first: Result, last_frame: int) -> Steps[None]:
        views = views_of(self._shots, self._worlds, self.footage.fps)
        views = views or still_view(first.camera, self._worlds[int(first.shot[0])])
        if self._camera() is None:
            self._new_camera(views)
        number = next(iter(sorted(self._shots)), int(first.shot[0]))
        yield from camera_steps(self._camera, views, self._worlds[number])
        if self.set_scene:
            scene = self._target_scene()
            scene.camera = self._camera()
            cameras.set_picture(scene, views.info)
            cameras.set_time(scene, self.footage.fps, last_frame)

    def _camera(self) -> bpy.types.Object | None:
        return next((ob for ob in self._objects() if ob.type == "CAMERA"), None)

    def _new_camera(self, views: Views) -> None:
        name = f"{self.footage.name[:_NAME_LENGTH]} camera"
        camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
        camera[JOB_KEY], camera[TRACK_KEY] = self.job, 0
        self._collection().objects.link(camera)
        if self.footage.file is not None:
            self.footage_shown = cameras.show_footage(
                camera.data,
                self.footage.file,
                views.size,
                self.footage.pictures,
                self.footage.length,
                self.footage.turned,
            )

    def _remove(self, track: int) -> None:
        for ob in [o for o in self._objects() if o.get(TRACK_KEY) == track]:
            remove_object(ob)
