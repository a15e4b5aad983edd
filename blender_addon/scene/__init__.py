# SPDX-License-Identifier: GPL-3.0-or-later
"""What lands in the .blend: armature, mesh, keys, camera, points."""
