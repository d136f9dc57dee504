#!/bin/sh
# Makes a virtual environment and installs this project into it.
# usage: setup.sh VENV RUNTIME [EXTRAS]      setup.sh .venv cpu      setup.sh .venv gpu train,dev
set -eu

venv=$1
runtime=$2
extras=$runtime${3:+,$3}
here=$(dirname "$0")

say() { printf '%s\n' "$*" >&2; }
die() { say "setup: $*"; exit 1; }

case $runtime in
    cpu) other=onnxruntime-gpu ;;
    gpu) other=onnxruntime ;;
    *) die "EXTRA must be cpu or gpu, not '$runtime'" ;;
esac

suits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }
can_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if suits "$candidate"; then echo "$candidate"; return; fi
    done
    die "no Python 3.11, 3.12 or 3.13 found (python3 is $(python3 --version 2>&1 || true)); name one with PYTHON=/path/to/python3.11"
}

# Debian splits venv off its Python. As root or with sudo it is installed, else it is named.
install_system_packages() {
    packages=$(grep -v '^#' "$here/system-packages.txt" | tr '\n' ' ')
    command -v apt-get >/dev/null || die "this Python has no venv module; install your system's package for it"
    if [ "$(id -u)" = 0 ]; then as_root=env
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then as_root="sudo env"
    else die "missing system packages; install them and try again:  sudo apt-get install -y $packages"
    fi
    say "setup: installing system packages: $packages"
    $as_root DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null
    # shellcheck disable=SC2086 # one word a package is meant
    $as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
}

if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    can_venv "$python" || install_system_packages
    can_venv "$python" || die "$python still has no venv module; install the package that brings it"
    say "setup: making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi

# Both runtimes own the module onnxruntime: the other one leaves first, and takes this one's files with it.
if "$venv/bin/python" -m pip show --quiet "$other" 2>/dev/null; then
    say "setup: replacing $other"
    "$venv/bin/python" -m pip uninstall --quiet --yes onnxruntime onnxruntime-gpu
    rm -f "$venv"/.installed-*
fi

say "setup: installing kowairo[$extras] into $venv (the first time takes a few minutes)"
"$venv/bin/python" -m pip install -qq --disable-pip-version-check --editable ".[$extras]"
