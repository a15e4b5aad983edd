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
work=${WORK:?give a folder with WORK} suite=${SUITE:-trixie} py=${PY:-python3}
root=$work/$suite out=$work/out
mkdir -p "$out"
[ -n "${ZIP:-}" ] || { "$py" "$repo/install.py" extension --out "$work/dist"; ZIP=$(ls "$work"/dist/bodyfield-*.zip); }
command -v mmdebstrap xdotool Xvfb >/dev/null || {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends mmdebstrap xvfb xdotool
}
if [ ! -e "$root/usr/bin/blender" ]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | head -1)
    more=; [ "$suite" = sid ] && more=,python3-cattr
    mmdebstrap -q --variant=minbase \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Retries "3"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
        --include=ca-certificates,blender,libgl1-mesa-dri,libegl1,libegl-mesa0,libglx-mesa0,libgl1,python3-numpy,python3-requests$more \
        "$suite" "$root" "$mirror"
    ln -sf /proc/mounts "$root/etc/mtab"
fi
# Blender as one program: in the chroot, with this repository, the pictures' folder and the zip where they are here.
cat >"$work/blender" <<WRAP
#!/usr/bin/env bash
exec unshare --mount --propagation private bash -c '
    mount -t proc proc "$root/proc"; mount --bind /dev "$root/dev"; mount -t tmpfs tmpfs "$root/dev/shm"
    for place in "$repo" "$out" "$(dirname "$(realpath "$ZIP")")" \${BODYFIELD_HOME:+"\$BODYFIELD_HOME"}; do
        mkdir -p "$root\$place"; mount --bind "\$place" "$root\$place"
    done
    exec chroot "$root" env -i HOME=/root PATH=/usr/bin:/bin LANG=C.UTF-8 LP_NUM_THREADS=2 \
        BLENDER_USER_RESOURCES="\$BLENDER_USER_RESOURCES" \${DISPLAY:+DISPLAY=\$DISPLAY} \
        \${BODYFIELD_HOME:+BODYFIELD_HOME=\$BODYFIELD_HOME} blender "\$@"' blender "\$@"
WRAP
chmod +x "$work/blender"
script=${1:-points_check.py}
shift || true
exec "$py" "$here/$script" --blender "$work/blender" --zip "$(realpath "$ZIP")" --out "$out" "$@"
