# SPDX-License-Identifier: GPL-3.0-or-later
"""Set Up Backend, Doctor, and what goes with them: the log, removal."""

import subprocess

import bpy
from bpy.props import BoolProperty, StringProperty

from ..languages.words import iface, said
from ..link import process, setup
from ..link.process import BackendFailed, BackendMissing
from ..shared.home import home_folder, log_path
from ..work import running
from ..work.backend_setup import BackendSetup, backend_folder, sources_of
from .operators import Refused, guarded, put_on_its_way

OFFLINE = (
    "Blender may not go online: allow it in Preferences, System, Network, or give a folder of wheels in the add-on's "
    "preferences."
)


class BODYFIELD_OT_setup_backend(bpy.types.Operator):
    """Make the private environment that the backend runs in (about 2 GB); continues where it was interrupted"""

    bl_idname = "bodyfield.setup_backend"
    bl_label = "Set Up Backend"

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Put it on its way."""
        sources = sources_of(context)
        if not sources.wheels and not getattr(bpy.app, "online_access", True):
            raise Refused(said(OFFLINE))
        return put_on_its_way(self, lambda: BackendSetup(backend_folder(), sources))


class BODYFIELD_OT_doctor(bpy.types.Operator):
    """Say what the backend has, on which device it will run, and what is missing"""

    bl_idname = "bodyfield.doctor"
    bl_label = "Doctor"

    text: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Examine, then show it."""
        self.execute(context)
        return context.window_manager.invoke_popup(self, width=520)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Run the backend's own doctor, which takes a few seconds."""
        try:
            command = process.find_backend(running.backend.python)
            said = subprocess.run(
                command.arguments("doctor"),
                cwd=home_folder() if home_folder().is_dir() else None,
                env=command.environment() | {"COLUMNS": "90", "NO_COLOR": "1"},
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=120,
                check=False,
            )
            self.text = said.stdout.strip() or (said.stderr.strip().splitlines() or ["It said nothing."])[-1]
        except (BackendMissing, BackendFailed) as error:
            self.text = str(error)
        except (OSError, subprocess.TimeoutExpired) as error:
            self.text = f"The backend's Python does not answer ({error}); press Set Up Backend."
        self.report({"INFO"}, self.text)
        return {"FINISHED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Line by line."""
        column = self.layout.column(align=True)
        for line in self.text.splitlines():
            column.label(text=line)


class BODYFIELD_OT_open_log(bpy.types.Operator):
    """Open what the backend, or its set-up, has printed"""

    bl_idname = "bodyfield.open_log"
    bl_label = "Open Log"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Open the newest of the two."""
        logs = [p for p in (log_path(), backend_folder() / setup.LOG) if p.is_file()]
        if not logs:
            self.report({"INFO"}, "There is no log yet: nothing was started.")
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=str(max(logs, key=lambda p: p.stat().st_mtime)))
        return {"FINISHED"}


class BODYFIELD_OT_remove_backend(bpy.types.Operator):
    """Delete the environment that Set Up Backend has made; jobs and logs too if you like"""

    bl_idname = "bodyfield.remove_backend"
    bl_label = "Remove Backend"

    jobs: BoolProperty(
        name="Jobs and Logs Too",
        description="No job can be resumed then; what is in your .blend files and your own weights stay",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only what was made here, and not while it runs."""
        return running.current() is None and bool(backend_folder().is_dir() or setup.records())

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Say how much it is, and ask."""
        self.sizes = [
            setup.in_words(setup.size_of(*paths)) for paths in ([backend_folder()], setup.records())
        ]
        return context.window_manager.invoke_props_dialog(self, width=420, confirm_text=iface("Remove"))

    def draw(self, context: bpy.types.Context) -> None:
        """What would be freed."""
        self.layout.label(text=iface("The backend's environment: {size}", size=self.sizes[0]))
        self.layout.prop(self, "jobs", text=iface("Jobs and logs too: {size}", size=self.sizes[1]))

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Stop it and delete."""
        running.backend.close()
        if process.running_endpoint() is not None:
            self.report({"ERROR"}, "Another Blender uses the backend: close that one and try again.")
            return {"CANCELLED"}
        setup.remove(backend_folder())
        if self.jobs:
            setup.remove_records()
        if backend_folder().exists() or (self.jobs and setup.records()):
            text = said(
                "Not all in {folder} could be deleted: restart Blender and try again.",
                folder=backend_folder(),
            )
            self.report({"ERROR"}, text)
            return {"CANCELLED"}
        return {"FINISHED"}
