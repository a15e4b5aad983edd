# SPDX-License-Identifier: GPL-3.0-or-later
"""Canonical points as the add-on knows them: clicked, preset, read from files. No bpy."""
