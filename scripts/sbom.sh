#!/bin/sh
# Writes dist/sbom.cdx.json: what an installation with deploy/constraints.txt consists of, as CycloneDX (JSON). The
# packages are installed into an environment of their own, because only their metadata says licences and dependencies.
set -eu
cd "$(dirname "$0")/.."
environment=.tools/sbom
python=$PWD/.venv/bin/python
install() {
    "$python" -m pip --python "$environment/bin/python" install --quiet --disable-pip-version-check "$@"
}

rm -rf "$environment"
# Without pip, which is no part of tendhost.
"$python" -m venv --without-pip "$environment"
install --require-hashes --requirement deploy/constraints.txt
install --no-deps .
mkdir -p dist
.venv/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --gather-license-texts \
    --output-reproducible --spec-version 1.6 --output-format JSON --output-file dist/sbom.cdx.json \
    "$environment/bin/python"
echo "dist/sbom.cdx.json: $(grep -c '"purl"' dist/sbom.cdx.json) packages"
