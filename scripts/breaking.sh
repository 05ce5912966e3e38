#!/bin/sh
# Checks that the contract still does for the clients of the last release: no field, number, type or name that they
# know may change. The release is the newest tag v* below HEAD; before the first one there is nothing to compare with.
set -eu
cd "$(dirname "$0")/.."
last=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null) || {
    echo "buf breaking: no release yet"
    exit
}
exec scripts/buf.sh breaking --against ".git#tag=$last"
