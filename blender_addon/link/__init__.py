# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend as seen from Blender: find it, start it, talk to it. No bpy, no thread, no waiting."""
