#!/bin/sh
# Builds crictl, the CRI's command line, into a folder: no distribution has a package of it.
#
#   tools/crictl.sh FOLDER
#
# Version and checksums: tools/crictl/go.mod and go.sum. It needs Go 1.21 or newer, which gets the
# version that go.mod asks for by itself: the one that is there, else Debian's backports' (Debian 12
# has 1.19) or Ubuntu's package. What is there stays. Sources and what Go builds are removed.
set -eu

mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")"

# Go's toolchains get newer ones themselves since 1.21.
recent() {
    minor=$("$1" env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge 21 ]
}

find_go() {
    for candidate in "$(command -v go)" /usr/local/go/bin/go /usr/lib/go-*/bin/go; do
        if [ -x "$candidate" ] && recent "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

get_go() {
    if grep -qx 'ID=debian' /etc/os-release; then
        ./backports.sh "$folder/go" usr/lib/go-1.23/bin/go golang-1.23-go golang-1.23-src
    else
        ./packages.sh crictl >&2 && find_go
    fi
}

exec 9>"$folder/lock"
flock 9
[ ! -x "$folder/crictl" ] || exit 0
if ! go=$(find_go || get_go); then
    echo "crictl: no Go 1.21 or newer: apt-get install golang-go, or https://go.dev/dl" >&2
    exit 1
fi
# Debian's Go does not get toolchains unless told to.
export GOTOOLCHAIN=auto GOFLAGS=-modcacherw GOPATH="$folder/gopath" GOCACHE="$folder/cache"
echo "crictl: building it with $go, some minutes" >&2
(cd crictl && "$go" build -trimpath -ldflags '-s -w' -o "$folder/crictl" sigs.k8s.io/cri-tools/cmd/crictl)
rm -rf "$folder/gopath" "$folder/cache" "$folder/go"
