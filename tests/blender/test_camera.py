"""The matched camera: Blender projects where the intrinsics project, and the footage lies behind."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from bpy_extras.object_utils import world_to_camera_view  # noqa: E402
from mathutils import Vector  # noqa: E402

from blender_addon.link.job import CameraInfo  # noqa: E402
from blender_addon.scene import camera as cameras  # noqa: E402
from blender_addon.scene.clip import ClipScene, Footage  # noqa: E402
from blender_addon.shared.frames import open_clip  # noqa: E402

from .people import ROOT, motion, open_body, posed  # noqa: E402
from .seen import bone_heads, go_to  # noqa: E402

LENSES = {
    "landscape": CameraInfo(640, 360, 700.0, 700.0, 319.5, 179.5),
    "portrait": CameraInfo(1080, 1920, 1400.0, 1400.0, 539.5, 959.5),
    "off centre": CameraInfo(640, 360, 500.0, 500.0, 250.0, 220.0),
    "portrait off centre": CameraInfo(360, 640, 500.0, 500.0, 150.0, 350.0),
    "tall pixels": CameraInfo(640, 360, 700.0, 525.0, 300.0, 200.0),
    "wide pixels": CameraInfo(360, 640, 500.0, 640.0, 190.0, 300.0),
}


def matched(info: CameraInfo) -> bpy.types.Object:
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene = bpy.context.scene
    scene.collection.objects.link(camera)
    scene.camera = camera
    cameras.set_intrinsics(camera.data, info)
    cameras.place_camera(camera, np.array([0.0, 1.25, 0.0]))
    cameras.set_picture(scene, info)
    bpy.context.view_layer.update()
    return camera


def pixels_by_blender(camera, info: CameraInfo, points: np.ndarray) -> np.ndarray:
    """World points -> pixels, (0, 0) the centre of the top left one."""
    seen = np.array([world_to_camera_view(bpy.context.scene, camera, Vector(p)) for p in points])
    return np.stack([seen[:, 0] * info.width, (1 - seen[:, 1]) * info.height], -1) - 0.5


def pixels_by_intrinsics(info: CameraInfo, points: np.ndarray) -> np.ndarray:
    x, y, z = points.T
    return np.stack([info.fx * x / z + info.cx, info.fy * y / z + info.cy], -1)


@pytest.mark.parametrize("lens", LENSES)
def test_projection_equals_the_intrinsics(lens):
    info = LENSES[lens]
    camera = matched(info)
    in_camera = np.random.default_rng(1).uniform([-1, -1, 2], [1, 1, 6], (40, 3))
    in_world = in_camera[:, [0, 2, 1]] * [1, 1, -1] + np.array([0, 0, 1.25])
    got = pixels_by_blender(camera, info, in_world)
    assert np.abs(got - pixels_by_intrinsics(info, in_camera)).max() < 0.01


@pytest.mark.parametrize("lens", ["off centre", "tall pixels", "wide pixels"])
def test_render_fills_the_very_pixels(lens):
    """A plate that covers pixels 60..69 x 30..39 by the intrinsics is rendered onto these and no others."""
    info = LENSES[lens]
    # A smaller picture of the same camera, so that the render takes a moment only.
    k = 0.25
    info = CameraInfo(
        info.width // 4, info.height // 4, *(k * f for f in (info.fx, info.fy, info.cx, info.cy))
    )
    matched(info)
    x = (np.array([59.5, 69.5]) - info.cx) / info.fx * 3
    y = (np.array([29.5, 39.5]) - info.cy) / info.fy * 3
    mesh = bpy.data.meshes.new("plate")
    corners = [(x[i], 3.0, 1.25 - y[j]) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
    mesh.from_pydata(corners, [], [(0, 1, 2, 3)])
    plate = bpy.data.objects.new("plate", mesh)
    bpy.context.scene.collection.objects.link(plate)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 1, False
    scene.cycles.pixel_filter_type = "BOX"
    scene.render.film_transparent = True
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.filepath = str(Path(bpy.app.tempdir) / "plate.png")
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(scene.render.filepath)
    alpha = np.array(image.pixels[:]).reshape(info.height, info.width, 4)[::-1, :, 3]
    want = np.zeros((info.height, info.width), bool)
    want[30:40, 60:70] = True
    assert np.array_equal(alpha > 0.5, want)


@pytest.mark.slow
@pytest.mark.parametrize("up", [(0.0, -1.0, 0.0), (0.25, -0.87, -0.42)])
def test_joints_fall_on_the_person_in_the_footage(up):
    """Through the whole of ClipScene: levelled world, floor offset, root conversion, camera."""
    result = replace(motion(6), up=np.float32(up))
    info = replace(result.camera, cx=350.0, cy=160.0)
    clip = ClipScene(Footage("walk", Path("nowhere.mp4"), 640, 360, 30.0), "job-1")
    clip.set_body(open_body())
    clip.add([replace(result, camera=info)])
    clip.refresh()
    joints, _ = posed(result.betas, result.pose, result.trans)
    for i in range(6):
        go_to(i + 1)
        got = pixels_by_blender(bpy.context.scene.camera, info, bone_heads(clip.armature(1)))
        assert np.abs(got - pixels_by_intrinsics(info, joints[i])).max() < 0.5
        # Heights in the world are measured against the clip's own up.
        height = bone_heads(clip.armature(1))[:, 2]
        along_up = joints[i] @ (np.array(up) / np.linalg.norm(up))
        assert np.ptp(height - along_up) < 1e-4


def scene_of(clip_path: Path, **changes):
    with open_clip(clip_path) as clip:
        footage = replace(Footage.of(clip), **changes)
    scene = ClipScene(footage, "job-1")
    scene.set_body(open_body())
    info = CameraInfo(footage.width, footage.height, 900.0, 900.0, footage.width / 2, footage.height / 2)
    scene.add([replace(motion(12, fps=footage.fps), camera=info)])
    scene.refresh()
    return scene


def test_scene_takes_size_rate_and_range_of_the_clip():
    scene_of(ROOT / "tests" / "data" / "demo.mp4", fps=29.97)
    render = bpy.context.scene.render
    clip = open_clip(ROOT / "tests" / "data" / "demo.mp4")
    assert (render.resolution_x, render.resolution_y) == (clip.width, clip.height)
    assert (render.fps, render.fps_base) == (30, pytest.approx(1.001))
    assert (bpy.context.scene.frame_start, bpy.context.scene.frame_end) == (1, 12)


def test_footage_is_behind_the_body():
    scene = scene_of(ROOT / "tests" / "data" / "demo.mp4")
    camera = bpy.context.scene.camera.data
    assert scene.footage_shown and camera.show_background_images
    (background,) = camera.background_images
    assert background.source == "IMAGE" and background.image.source == "MOVIE"
    user = background.image_user
    assert (user.frame_start, user.frame_offset, user.frame_duration) == (1, 0, 100) and user.use_auto_refresh
    assert Path(bpy.path.abspath(background.image.filepath)) == ROOT / "tests" / "data" / "demo.mp4"
    assert (background.frame_method, background.display_depth) == ("STRETCH", "BACK")


def test_image_sequence_is_shown_from_its_first_picture(tmp_path):
    image = np.zeros((32, 64, 3), np.uint8)
    for n in range(5, 17):
        context = av.CodecContext.create("png", "w")
        context.width, context.height, context.pix_fmt, context.time_base = 64, 32, "rgb24", Fraction(1, 25)
        packets = context.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))
        (tmp_path / f"p{n:03d}.png").write_bytes(b"".join(map(bytes, packets)))
    scene = scene_of(tmp_path / "p###.png")
    (background,) = bpy.context.scene.camera.data.background_images
    image, user = background.image, background.image_user
    assert scene.footage_shown and image.source == "SEQUENCE"
    assert (user.frame_duration, user.frame_start, user.frame_offset) == (12, 1, 4)
    assert Path(image.filepath).name == "p005.png"


def test_a_clip_that_blender_cannot_read_is_told(tmp_path):
    scene = scene_of(ROOT / "tests" / "data" / "demo.mp4", file=tmp_path / "gone.mp4")
    assert not scene.footage_shown and not bpy.context.scene.camera.data.background_images
