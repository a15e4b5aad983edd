"""The half of bench/keys.py that runs in Blender; prints one JSON object."""

import argparse
import json
import time

import bpy
import numpy as np

from blender_addon.scene.armature import new_armature
from blender_addon.scene.keys import Channel, bone_path, write_keys
from blender_addon.scene.rest import rest_body
from blender_addon.shared.axes import continuous, rotvec_to_quaternion

from .people import betas_of, motion, open_body
from .seen import curves_of


def armature(name: str) -> bpy.types.Object:
    """A posed-able armature in the scene."""
    ob = bpy.data.objects.new(name, new_armature(name, rest_body(open_body(), betas_of())))
    bpy.context.scene.collection.objects.link(ob)
    bpy.context.view_layer.update()
    return ob


def main() -> None:
    """Key the same motion in both ways, the slow one first."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    rotations = rotvec_to_quaternion(motion(a.frames, seed=a.seed).pose)
    places = np.random.default_rng(a.seed).normal(size=(a.frames, 3))
    names = open_body().joint_names

    slow = armature("slow")
    begin = time.perf_counter()
    for i, (place, frame) in enumerate(zip(places, continuous(rotations), strict=True)):
        slow.pose.bones["pelvis"].location = place
        slow.pose.bones["pelvis"].keyframe_insert("location", frame=i + 1)
        for name, quaternion in zip(names, frame, strict=True):
            bone = slow.pose.bones[name]
            bone.rotation_quaternion = quaternion
            bone.keyframe_insert("rotation_quaternion", frame=i + 1)
    slow_s = time.perf_counter() - begin

    quick = armature("quick")
    begin = time.perf_counter()
    channels = [Channel(bone_path("pelvis", "location"), places, "pelvis")]
    channels += [
        Channel(bone_path(name, "rotation_quaternion"), rotations[:, i], name, quaternion=True)
        for i, name in enumerate(names)
    ]
    write_keys(quick, "quick", channels, np.arange(1, a.frames + 1))
    quick_s = time.perf_counter() - begin
    print(
        json.dumps(
            {
                "blender": bpy.app.version_string,
                "frames": a.frames,
                "keyframe_insert_s": slow_s,
                "bulk_s": quick_s,
                "difference": difference(slow, quick),
            }
        )
    )


def difference(a: bpy.types.Object, b: bpy.types.Object) -> float:
    """The largest difference of any key of the two."""
    held = []
    for ob in (a, b):
        points = {}
        for curve in curves_of(ob):
            co = np.empty(2 * len(curve.keyframe_points), np.float32)
            curve.keyframe_points.foreach_get("co", co)
            points[curve.data_path, curve.array_index] = co
        held.append(points)
    assert held[0].keys() == held[1].keys() and len(held[0]) == 223
    return float(max(np.abs(held[0][key] - held[1][key]).max() for key in held[0]))


if __name__ == "__main__":
    main()
