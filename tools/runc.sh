#!/bin/sh
# Builds a static runc, for nodes on which there is no library, into FOLDER/runc.
#
#   tools/runc.sh FOLDER [VERSION]
#
# With seccomp, which the kubelet asks for; its library is linked in (Debian: libseccomp-dev).
set -eu

version=${2:-v1.3.0}
# A folder for vendored modules comes with its sources, the modules do not.
CGO_ENABLED=1 GOFLAGS=-mod=mod exec "$(dirname "$0")/gomodule.sh" "$1" github.com/opencontainers/runc \
    "$version" -tags 'netgo osusergo seccomp' \
    -ldflags "-s -w -X main.version=${version#v} -linkmode external -extldflags -static" .
