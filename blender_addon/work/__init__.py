# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs while Blender stays free: `work.Work` and its kinds, moved on by `running`. No operators here."""
