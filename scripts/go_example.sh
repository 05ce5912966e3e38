#!/bin/sh
# Builds examples/go into .tools/bin, with the stubs that buf makes of the contract (needs Go 1.21 or later, and npm).
set -eu
cd "$(dirname "$0")/.."
bin=$PWD/.tools/bin
built=$bin/tendhost-go-example

if [ -x "$built" ] && [ -z "$(find protos examples/go -name stubs -prune -o -newer "$built" -type f \
    ! -name '*.py' ! -name '*.pyi' ! -name '*.pyc' -print -quit)" ]; then
    exit
fi
if ! command -v go >/dev/null; then
    echo "examples/go: Go is missing (on Debian and Ubuntu: apt-get install golang-go)" >&2
    exit 1
fi
echo "Building examples/go into .tools/bin"
mkdir -p "$bin"
export CGO_ENABLED=0 GOBIN="$bin"
go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
PATH="$bin:$PATH" scripts/buf.sh generate --template examples/go/buf.gen.yaml protos
go build -C examples/go -o "$built" .
