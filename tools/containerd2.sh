#!/bin/sh
# Builds containerd 2.x, its shim for runc and ctr into a folder: Debian 12 and Ubuntu 24.04 have 1.x.
#
#   tools/containerd2.sh FOLDER [VERSION]
#
# Go is what tools/go.sh finds or gets. The module's own go.sum is what all it is made of is checked
# against. Another version that is there is replaced. Sources and what Go builds are removed.
set -eu

module=github.com/containerd/containerd/v2
version=${2:-v2.4.2}
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")"

exec 9>"$folder/lock"
flock 9
[ "$(cat "$folder/version" 2>/dev/null)" != "$version" ] || exit 0
go=$(./go.sh "$folder")
# Without cgo there is no btrfs, and no compiler of C is needed. Two at a time fit small machines.
export CGO_ENABLED=0 GOTOOLCHAIN=auto GOFLAGS='-modcacherw -trimpath -buildvcs=false -p=2'
export GOPATH="$folder/gopath" GOCACHE="$folder/cache"
echo "containerd2: building $version with $go, some minutes" >&2
cd "$folder"
"$go" mod download "$module@$version"
cd "$GOPATH/pkg/mod/$module@$version"
nice -n 10 "$go" build -tags 'no_btrfs no_devmapper no_zfs no_tracing' \
    -ldflags "-s -w -X $module/version.Version=$version" -o "$folder/" \
    ./cmd/containerd ./cmd/ctr ./cmd/containerd-shim-runc-v2
cd "$folder"
rm -rf "$folder/gopath" "$folder/cache" "$folder/go"
echo "$version" >"$folder/version"
