#!/usr/bin/env bash
# The add-on's tests under every Blender: its Python module 4.2, 4.5, 5.0 (Python 3.11) and 5.2 (Python 3.13), and
# real Blender programs in background mode, Debian's of trixie (4.3) and of sid (5.2).
#
#   WORK=FOLDER tests/matrix.sh [ROW ...]      (rows 4.2 4.5 5.0 5.2 trixie sid; without any: all but sid)
#
# WORK keeps an environment a row (9 GB in all) for the next time and gets a log and a JUnit file a row. pip finds its
# packages as the machine has it set up. Options, as variables: PY311 and PY313, the Pythons; PYTEST, other tests than
# all of the add-on's; GUI, the folder of the chroots (default WORK/gui, see tests/gui/chroot.sh, as root); LOCK, a file
# that is locked while a chroot is used. The last lines are a table and every reason for which a test was skipped; the
# exit code is 1 when a test failed or a row could not be run.
#
# A row whose Python has no small PyTorch (there is none for 3.13 in pip's default index) talks to the backend of row
# 4.5, and so do the real Blenders: add-on and backend in two Pythons is how they always run at the user's.
set -uo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
work=$(mkdir -p "${WORK:?give a folder with WORK}" && cd "$WORK" && pwd)
gui=${GUI:-$work/gui} lock=${LOCK:-$work/lock}
out=$work/out
tests=(${PYTEST:-tests/blender tests/addon tests/shared tests/serve})
rows=("$@")
[ $# -gt 0 ] || rows=(4.2 4.5 5.0 5.2 trixie)
readers='c3d==0.6.0 pufbx==0.1.0'
declare -A modules=([4.2]=bpy==4.2.23 [4.5]=bpy==4.5.15 [5.0]=bpy==5.0.1 [5.2]=bpy==5.2.3)
versions='import bpy, sys; print("VERSIONS", ".".join(map(str, bpy.app.version)), sys.version.split()[0])'
export OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1 PYTHONNOUSERSITE=1
unset BODYFIELD_PYTHON BODYFIELD_HOME
mkdir -p "$out"

python_of() { # 3.11 -> a program that is that Python
    local given=PY${1/./} found
    for found in "${!given:-}" "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/"python$1"; do
        [ -n "$found" ] && "$found" -c '' 2>/dev/null && command -v "$found" && return
    done
    echo "There is no Python $1: name it with $given." >&2
    return 1
}

pins() { # PYTHON GROUP -> that group's lines of pyproject.toml, for that Python
    (cd "$repo" && "$1" -c 'import sys; from installer.pins import pins; print(*pins(sys.argv[1]))' "$2")
}

pinned() { # PYTHON NAME ... -> of those lines the named packages' ones
    local python=$1 name; shift
    for name; do tr ' ' '\n' <<<"$(pins "$python" base) $(pins "$python" test)" | grep -m1 "^$name=="; done
}

has_small_torch() { # PYTHON: pip would install it without gigabytes of CUDA
    local plan; plan=$(mktemp)
    "$1" -m pip install -q --dry-run --report "$plan" "$(pinned "$1" torch)" >/dev/null 2>&1 &&
        (cd "$repo" && "$1" -c 'import json, sys; from installer.pins import torch_refusal
sys.exit(torch_refusal(json.load(open(sys.argv[1])), None) is not None)' "$plan")
    local said=$?; rm -f "$plan"; return $said
}

environment() { # ROW: WORK/ROW holds that Blender's module, what the backend needs, the test tools
    local folder=$work/$1 version=3.11 base wanted asked
    [ "$1" = 5.2 ] && version=3.13
    base=$(python_of $version) || return
    wanted="${modules[$1]} $(pins "$base" base) $(pinned "$base" pytest hypothesis | xargs) $readers"
    [ "$(cat "$folder/made" 2>/dev/null)" = "$wanted" ] && return
    rm -rf "$folder"
    "$base" -m venv "$folder" && "$folder/bin/python" -m pip install -q $(pins "$base" pip) || return
    asked=${wanted/$readers/}
    # Without PyTorch also without what would bring it along.
    has_small_torch "$folder/bin/python" ||
        asked=$(tr ' ' '\n' <<<"$asked" | grep -v -e '^torch==' -e '^roma==' | xargs)
    "$folder/bin/python" -m pip install -q --only-binary :all: $asked || return
    # Independent readers of C3D and FBX. The latter may come as source: where there is no compiler its tests are skipped.
    for asked in $readers; do
        "$folder/bin/python" -m pip install -q "$asked" || echo "no $asked for Python $version"
    done
    echo "$wanted" >"$folder/made"
}

has_torch() { "$1" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'; }

run_module() { # ROW
    local python=$work/$1/bin/python; local backend=$python
    environment "$1" || return
    has_torch "$python" || { environment 4.5 || return; backend=$work/4.5/bin/python; }
    "$python" -c "$versions" | sed -n 's/^VERSIONS //p' >"$out/$1.version"
    (cd "$repo" && BODYFIELD_PYTHON=$backend "$python" -m pytest -p no:cacheprovider "${tests[@]}" \
        --junitxml "$out/$1.xml")
}

run_program() { # SUITE
    local blender=$work/blender-$1 python=$work/4.5/bin/python version folder
    environment 4.5 || return
    local prefix; prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
    (flock 9
        WORK=$gui SUITE=$1 WRAPPER=$blender "$repo/tests/gui/chroot.sh" "$repo" "$work" "$prefix" || exit
        "$blender" -b --factory-startup --python-expr "$versions" | sed -n 's/^VERSIONS //p' >"$out/$1.version"
        version=$(cut -d' ' -f2 "$out/$1.version" | cut -d. -f1,2)
        folder=$work/packages-$version
        packages_for "$version" "$folder" || exit
        BODYFIELD_PYTHON=$python "$blender" -b --factory-startup --python-exit-code 1 \
            --python "$repo/tests/gui/run_pytest.py" -- "$folder" --rootdir "$repo" -c "$repo/pyproject.toml" \
            "${tests[@]/#/$repo/}" --junitxml "$out/$1.xml") 9>"$lock"
}

packages_for() { # PYTHON'S VERSION, FOLDER: what the tests need beside what Blender's own Python has
    local python=$work/4.5/bin/python names
    names=$(pinned "$python" pytest hypothesis pyzmq av scipy safetensors platformdirs)
    names+=" pluggy iniconfig packaging pygments sortedcontainers"
    local wheels=("$python" -m pip wheel -q --no-deps -w "$work/wheels")
    "${wheels[@]}" "${readers% *}" && names+=" ${readers% *}"
    # The FBX reader was compiled for the row of this Python, if there is one.
    if [ "$1" = 3.13 ] && environment 5.2 && "$work/5.2/bin/python" -c 'import pufbx' 2>/dev/null; then
        wheels[0]=$work/5.2/bin/python
        "${wheels[@]}" "${readers#* }" && names+=" ${readers#* }"
    fi
    [ "$(cat "$2/made" 2>/dev/null)" = "$names" ] && return
    rm -rf "$2"
    "$python" -m pip install -q --target "$2" --python-version "$1" --only-binary :all: --no-deps \
        --find-links "$work/wheels" $names &&
        echo "$names" >"$2/made"
}

for row in "${rows[@]}"; do
    echo "== $row"
    rm -f "$out/$row.xml" "$out/$row.version"
    if [ -n "${modules[$row]:-}" ]; then run_module "$row"; else run_program "$row"; fi >"$out/$row.log" 2>&1
    echo $? >"$out/$row.code"
    tail -n 1 "$out/$row.log"
done

"$(python_of 3.11)" "$repo/tests/matrix_table.py" "$out" "${rows[@]}"
