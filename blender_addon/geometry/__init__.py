# SPDX-License-Identifier: GPL-3.0-or-later
"""Geometry and timing in plain numbers; no bpy."""
