"""How work says that it cannot go on: `JobError`, and every code that one can have, on one screen.

The code is for programs: it goes over the wire, and the add-on chooses its buttons by it. The sentence for the user
comes with each error, because it names the file or the option at fault; here stands what the code means in general.
"""

from __future__ import annotations

CODES: dict[str, str] = {
    # What was given to us.
    "no_input": "There is nothing to read at the path: give a picture, a folder with pictures, or a movie.",
    "bad_clip": "The movie or the image sequence cannot be read: convert it, or choose another.",
    "bad_picture": "A single picture cannot be read; the others of its folder still are.",
    "bad_frame": "A frame has another size, number or layout than the clip's first ones: convert the clip to one size.",
    "no_frames": "There is not a single frame to work on: choose another clip.",
    "no_person": "Nobody was found in the whole clip: choose another clip, or another localizer.",
    "no_choice": "The chosen people are not in the clip, or cannot be followed: choose them in another frame.",
    "bad_boxes": "The table of people's boxes is not as it must be: mend the row that is named.",
    "bad_points": "Points are not as they must be: mend the entry, the file or the name at fault.",
    "bad_marks": "The marks of pictures and cameras that an accuracy is measured by are not as they must be.",
    "bad_volume": "Two bodies are too different for one volume to be laid onto the other.",
    # What was asked for.
    "bad_options": "An option has a value that it cannot have: mend the one that is named.",
    "bad_output": "The result may not be written there, or its ending names no known kind: choose another name.",
    "bad_config": "The recipe of a training has a wrong or missing value: mend the one that is named.",
    "no_device": "The device is not in this machine, or PyTorch cannot use it: choose another.",
    "no_memory": "The device has too little memory: ask for fewer people or pictures at a time.",
    # Weights, bodies, and what training reads.
    "bad_weights": "The weights are unknown, damaged or of another kind: add them again, or choose others.",
    "bad_body": "The body file is missing, damaged or of another kind: give an SMPL-X, SMPL-H or SMPL file.",
    "bad_data": "A data set is missing, damaged or laid out differently: give its folder as it was published.",
    "bad_background": "A picture for the background of rendered people cannot be read: leave it out.",
    "bad_motion": "A file of poses for rendered people holds none that can be used: give another.",
    "bad_shard": "A file of rendered pictures is damaged, or its folder was made by another recipe.",
    "no_shards": "A process that rendered pictures ended too early: run it again to make the rest.",
    "bad_checkpoint": "A checkpoint is damaged or of another model: name another, or start anew.",
    "bad_folder": "A training cannot use the folder: it holds another training, or no checkpoint to go on from.",
    # The disk.
    "disk_full": "The disk is full: make room and try again; what was finished is kept.",
    "cannot_write": "A file or a folder cannot be written: see to its permissions, or choose another place.",
    # Jobs.
    "no_job": "There is no job of this name: import the clip once more.",
    "damaged_job": "What is kept of a job cannot be read: import the clip once more.",
    "job_busy": "The job is at work for somebody else: wait for its end, or cancel it.",
    "not_done": "The job is not finished, so that there are no results yet: resume it first.",
    "cancelled": "The user stopped it; what was finished is kept.",
    "silent": "The add-on sent nothing for so long that another job got its turn: resume the job.",
    "busy": "The backend has enough questions of this kind to answer: wait for their end.",
    # Blender at the end of the command line.
    "no_bpy": "This Python lacks Blender's module bpy: run 'python install.py setup'.",
    "blender": "Blender's part of the export failed; the .npz files are written.",
    # The conversation of the add-on and the backend.
    "no_hello": "A client spoke before it had said hello and shown the token: the add-on connects anew.",
    "bad_token": "The token is that of another backend: the add-on connects anew.",
    "version": "The add-on and the backend speak different versions: install the same release of both.",
    "malformed": "A message is not as the protocol has it: install the same release of both sides.",
    "credit": "The add-on sent more frames than it may: install its newest release.",
    "bad_end": "The clip ended after another number of frames than came: import it once more.",
    "no_points": "This backend cannot track points: install its newest release.",
    "no_preview": "This backend cannot show people before a job: install its newest release.",
    "stopped": "The backend was stopped, and its jobs with it; they can be resumed.",
    # Our own mistakes.
    "internal": "The backend made a mistake: its log has the details, please report them.",
}
"""Every code, and in one sentence what it means and what helps."""


class JobError(Exception):
    """Work cannot go on. The message is one sentence that says what to do; `code` is one of `CODES`."""

    def __init__(self, code: str, text: str) -> None:
        assert code in CODES, f"the code '{code}' is missing from backend.errors.CODES"
        super().__init__(text)
        self.code = code
