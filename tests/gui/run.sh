#!/usr/bin/env bash
# A real Blender window: Debian's Blender in a chroot under Xvfb, the built extension installed, clicked with the mouse.
#
#   WORK=FOLDER ZIP=dist/bodyfield-...zip tests/gui/run.sh [SCRIPT [ARGUMENTS]]      (as root)
#
# WORK keeps the chroot (1.3 GB) for the next time and gets pictures and logs; SUITE=sid gives Blender 5.2 in place of
# 4.3; PY is a Python with Pillow; SCRIPT is points_check.py unless given. Needs mmdebstrap, Xvfb, xdotool.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
work=${WORK:?give a folder with WORK} py=${PY:-python3}
out=$work/out
mkdir -p "$out"
[ -n "${ZIP:-}" ] || { "$py" "$repo/install.py" extension --out "$work/dist"; ZIP=$(ls "$work"/dist/bodyfield-*.zip); }
command -v mmdebstrap xdotool Xvfb >/dev/null || {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends mmdebstrap xvfb xdotool
}
"$here/chroot.sh" "$repo" "$out" "$(dirname "$(realpath "$ZIP")")"
script=${1:-points_check.py}
shift || true
exec "$py" "$here/$script" --blender "$work/blender" --zip "$(realpath "$ZIP")" --out "$out" "$@"
