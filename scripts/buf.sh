#!/bin/sh
# Runs buf on the contract: `scripts/buf.sh lint`. Installs it below .tools first, through npm.
# Without npm it says so and does nothing, except under CI=true, where that is a failure.
set -eu
cd "$(dirname "$0")/.."
version=1.75.0
installed=.tools/buf-$version

if [ ! -x "$installed/node_modules/.bin/buf" ]; then
    if ! command -v npm >/dev/null; then
        echo "buf $*: skipped, because npm is missing (it installs buf)" >&2
        [ "${CI:-}" != true ]
        exit
    fi
    npm install --prefix "$installed" --no-save --no-package-lock --no-audit --no-fund \
        --loglevel=error "@bufbuild/buf@$version"
fi
exec "$installed/node_modules/.bin/buf" "$@"
