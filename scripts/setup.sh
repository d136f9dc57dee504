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

# Names of the packages of system-packages.txt that an extra needs and whose program is missing; of no extra for "".
missing_packages() {
    grep -v '^#' "$here/system-packages.txt" | while read -r package extra program; do
        [ "$extra" = "$1" ] || continue
        [ -n "$program" ] && command -v "$program" >/dev/null && continue
        echo "$package"
    done
}

# Installs packages where root or sudo allows it; says what it would have needed and fails where not.
install_packages() {
    command -v apt-get >/dev/null || { say "setup: no apt-get here; install what your system calls: $*"; return 1; }
    if [ "$(id -u)" = 0 ]; then as_root=env
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then as_root="sudo env"
    else say "setup: neither root nor sudo:  sudo apt-get install -y $*"; return 1
    fi
    say "setup: installing system packages: $*"
    $as_root DEBIAN_FRONTEND=noninteractive sh -s -- "$@" <<'END' || { say "setup: apt-get could not install: $*"; return 1; }
# Debian starts a package's daemon as it installs it, and at every boot from then on. The tests start their own, so
# both are forbidden here; a policy that this machine has already is left alone.
set -eu
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
apt-get update -qq >/dev/null </dev/null
apt-get install -y -qq --no-install-recommends "$@" >/dev/null </dev/null
if [ -d /run/systemd/system ]; then
    for package in "$@"; do systemctl disable --quiet "$package" 2>/dev/null || true; done
fi
END
}

if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    # Debian splits venv off its Python.
    # shellcheck disable=SC2046 # one word a package is meant
    can_venv "$python" || install_packages $(missing_packages "") || true
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

# Programs that only tests run: without them those tests are skipped, and say so.
for extra in $(echo "$extras" | tr ',' ' '); do
    missing=$(missing_packages "$extra")
    # shellcheck disable=SC2086 # one word a package is meant
    [ -z "$missing" ] || install_packages $missing || say "setup: going on without; tests that need them are skipped"
done

say "setup: installing kowairo[$extras] into $venv (the first time takes a few minutes)"
"$venv/bin/python" -m pip install -qq --disable-pip-version-check --editable ".[$extras]"
