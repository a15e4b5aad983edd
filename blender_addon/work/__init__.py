# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that run while Blender stays free; `pump()` moves them on. No operators here."""
