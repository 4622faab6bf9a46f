#!/bin/sh
# Builds containerd 2.x, its shim for runc and ctr into a folder: Debian 12 and Ubuntu 24.04 have 1.x.
#
#   tools/containerd2.sh FOLDER [VERSION]
#
# Without cgo there is no btrfs, and no compiler of C is needed.
set -eu

module=github.com/containerd/containerd/v2
version=${2:-v2.4.2}
CGO_ENABLED=0 exec "$(dirname "$0")/gomodule.sh" "$1" "$module" "$version" \
    -tags 'no_btrfs no_devmapper no_zfs no_tracing' -ldflags "-s -w -X $module/version.Version=$version" \
    ./cmd/containerd ./cmd/ctr ./cmd/containerd-shim-runc-v2
