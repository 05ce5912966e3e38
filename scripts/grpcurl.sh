#!/bin/sh
# Builds grpcurl into .tools/bin through Go's module proxy, for the tests marked grpcurl.
# This version builds with every Go since 1.19, the one of Debian 12.
set -eu
cd "$(dirname "$0")/.."
version=v1.9.1

if [ -x .tools/bin/grpcurl ]; then
    exit
fi
if ! command -v go >/dev/null; then
    echo "grpcurl: Go is missing (on Debian and Ubuntu: apt-get install golang-go)" >&2
    exit 1
fi
echo "Building grpcurl $version into .tools/bin"
mkdir -p .tools/bin
CGO_ENABLED=0 GOBIN="$PWD/.tools/bin" go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$version"
