#!/bin/sh
# Builds a static runc, for nodes on which there is no library, into FOLDER/runc.
#
#   tools/runc.sh FOLDER [VERSION]
#
# Go is what tools/go.sh finds or gets; the module's own go.sum is what all it is made of is checked
# against. Without seccomp, whose library Debian has and a node may not.
set -eu

module=github.com/opencontainers/runc
version=${2:-v1.3.0}
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")"

exec 9>"$folder/lock"
flock 9
[ "$(cat "$folder/version" 2>/dev/null)" != "$version" ] || exit 0
go=$(./go.sh "$folder")
export CGO_ENABLED=1 GOTOOLCHAIN=auto GOFLAGS='-mod=mod -modcacherw -trimpath -buildvcs=false -p=2'
export GOPATH="$folder/gopath" GOCACHE="$folder/cache"
echo "runc: building $version with $go" >&2
cd "$folder"
"$go" mod download "$module@$version"
cd "$GOPATH/pkg/mod/$module@$version"
nice -n 10 "$go" build -tags 'netgo osusergo' -o "$folder/runc" \
    -ldflags "-s -w -X main.version=${version#v} -linkmode external -extldflags -static" .
rm -rf "$folder/gopath" "$folder/cache" "$folder/go"
echo "$version" >"$folder/version"
