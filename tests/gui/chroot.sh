#!/usr/bin/env bash
# Debian's Blender as one program: a chroot WORK/SUITE, made at the first call, and WORK/blender, which starts it.
#
#   WORK=FOLDER tests/gui/chroot.sh [PLACE ...]      (as root)
#
# Each PLACE is seen inside where it is here, and so is the folder of BODYFIELD_HOME at the time Blender starts.
# SUITE=sid gives Blender 5.2 in place of trixie's 4.3; WRAPPER names another file than WORK/blender. Needs mmdebstrap.
set -euo pipefail
work=${WORK:?give a folder with WORK} suite=${SUITE:-trixie}
root=$work/$suite wrapper=${WRAPPER:-$work/blender}
mkdir -p "$work"
if [ ! -e "$root/usr/bin/blender" ]; then
    command -v mmdebstrap >/dev/null || {
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends mmdebstrap
    }
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
places=$(printf '"%s" ' "$@")
cat >"$wrapper" <<WRAP
#!/usr/bin/env bash
exec unshare --mount --propagation private bash -c '
    mount -t proc proc "$root/proc"; mount --bind /dev "$root/dev"; mount -t tmpfs tmpfs "$root/dev/shm"
    for place in $places \${BODYFIELD_HOME:+"\$BODYFIELD_HOME"}; do
        mkdir -p "$root\$place"; mount --bind "\$place" "$root\$place"
    done
    kept=()
    for name in BLENDER_USER_RESOURCES BODYFIELD_HOME BODYFIELD_PYTHON DISPLAY OMP_NUM_THREADS; do
        [ -z "\${!name:-}" ] || kept+=("\$name=\${!name}")
    done
    exec chroot "$root" env -i HOME=/root PATH=/usr/bin:/bin LANG=C.UTF-8 LP_NUM_THREADS=2 "\${kept[@]}" blender "\$@"
' blender "\$@"
WRAP
chmod +x "$wrapper"
