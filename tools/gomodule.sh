#!/bin/sh
# Builds the programs of a Go module into FOLDER, once for each VERSION and its arguments; another one
# that is there is replaced. Sources and what Go builds are removed.
#
#   tools/gomodule.sh FOLDER MODULE VERSION ARGUMENT...        ARGUMENT: of go build
#
# Go is what tools/go.sh finds or gets. The module's own go.sum is what all it is made of is checked
# against. GOFLAGS is added to.
set -eu

mkdir -p "$1"
folder=$(cd "$1" && pwd)
module=$2
version=$3
shift 3
wanted="$version $*"
cd "$(dirname "$0")"

exec 9>"$folder/lock"
flock 9
[ "$(cat "$folder/version" 2>/dev/null)" != "$wanted" ] || exit 0
go=$(./go.sh "$folder")
# Two at a time fit small machines.
export GOTOOLCHAIN=auto GOFLAGS="-modcacherw -trimpath -buildvcs=false -p=2 ${GOFLAGS:-}"
export GOPATH="$folder/gopath" GOCACHE="$folder/cache"
echo "$(basename "$folder"): building $version with $go, some minutes" >&2
cd "$folder"
"$go" mod download "$module@$version"
cd "$GOPATH/pkg/mod/$module@$version"
nice -n 10 "$go" build -o "$folder/" "$@"
cd "$folder"
rm -rf "$folder/gopath" "$folder/cache" "$folder/go"
echo "$wanted" >"$folder/version"
