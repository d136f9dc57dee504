#!/bin/sh
# Writes what the images are made of, as CycloneDX: build/sbom/kowairo-{cpu,gpu}.cdx.json, from the locks alone.
# usage: sbom.sh VENV      (cyclonedx-bom gets an environment of its own under build/)
set -eu

[ -x build/sbom-tool/bin/python ] || "$1/bin/python" -m venv build/sbom-tool
python=build/sbom-tool/bin/python
"$python" -m pip install -qq --disable-pip-version-check 'cyclonedx-bom>=7,<8'
mkdir -p build/sbom
for runtime in cpu gpu; do
    sbom=build/sbom/kowairo-$runtime.cdx.json
    "$python" -W ignore::UserWarning -m cyclonedx_py requirements "deploy/requirements-$runtime.txt" --pyproject pyproject.toml \
        --mc-type application --output-reproducible --sv 1.6 --of JSON --validate --output-file "$sbom"
    echo "sbom: $sbom"
done
