#!/bin/sh
# Builds opencontainers/runtime-tools' validation with the Go client from the module proxy, into DIR.
# Takes minutes the first time; what is there is not built again.
#
#   tools/runtime_tools.sh DIR
#
# DIR then holds the programs, the runtimetest they put into containers, and their rootfs.
# GO=/path/to/go names the client. Exit status 1: a line on stderr says what is missing.
set -eu

module=github.com/opencontainers/runtime-tools
version=v0.9.1-0.20251114084447-edf4cb3d2116
mkdir -p "$1"
directory=$(cd "$1" && pwd)

[ "$(cat "$directory/version" 2>/dev/null)" != "$version" ] || exit 0

go=${GO:-$(command -v go || echo /usr/local/go/bin/go)}
if ! [ -x "$go" ]; then
    echo "runtime-tools: needs Go (sudo apt-get install golang-go), or" \
        "GO=/path/to/go make runtime-tools" >&2
    exit 1
fi

export CGO_ENABLED=0 GOFLAGS='-mod=mod -trimpath -buildvcs=false'
cd "$directory"
source=$("$go" mod download -json "$module@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
[ -d "$source/validation" ] || {
    echo "runtime-tools: $module@$version cannot be had" >&2
    exit 1
}
rm -rf source
cp -r "$source" source
chmod -R u+w source
cp source/rootfs-*.tar.gz .
cd source
# Static: runtimetest runs in a rootfs without a libc. One package at a time fits small machines.
nice "$go" build -o "$directory/runtimetest" ./cmd/runtimetest
for test in validation/*/; do
    name=$(basename "$test")
    [ -f "$test/$name.go" ] || continue
    nice "$go" build -ldflags='-s -w' -o "$directory/tests/$name" "./$test"
done
cd "$directory"
rm -rf source
echo "$version" >"$directory/version"
