#!/bin/sh
# Builds crictl, the CRI's command line, into a folder: no distribution has a package of it.
#
#   tools/crictl.sh FOLDER
#
# Version and checksums: tools/crictl/go.mod and go.sum. Go is what tools/go.sh finds or gets. What is
# there stays. Sources and what Go builds are removed.
set -eu

mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")"

exec 9>"$folder/lock"
flock 9
[ ! -x "$folder/crictl" ] || exit 0
go=$(./go.sh "$folder")
# Debian's Go does not get toolchains unless told to.
export GOTOOLCHAIN=auto GOFLAGS=-modcacherw GOPATH="$folder/gopath" GOCACHE="$folder/cache"
echo "crictl: building it with $go, some minutes" >&2
(cd crictl && "$go" build -trimpath -ldflags '-s -w' -o "$folder/crictl" sigs.k8s.io/cri-tools/cmd/crictl)
rm -rf "$folder/gopath" "$folder/cache" "$folder/go"
