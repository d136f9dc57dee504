#!/bin/sh
# Writes deploy/requirements-{cpu,gpu}.txt: every package the images install, exact and with hashes.
# usage: lock.sh VENV      (pip-tools gets an environment of its own under build/)
set -eu

[ -x build/lock/bin/python ] || "$1/bin/python" -m venv build/lock
python=build/lock/bin/python
"$python" -m pip install -qq --disable-pip-version-check 'pip-tools>=7.5,<8'
for runtime in cpu gpu; do
    CUSTOM_COMPILE_COMMAND="make lock" "$python" -m piptools compile --quiet --upgrade --strip-extras \
        --generate-hashes --no-emit-options \
        --extra "$runtime" --extra otel --output-file "deploy/requirements-$runtime.txt" pyproject.toml
done
