#!/bin/sh
# Installs the peer that `make bench` compares pyshim with: nvidia-container-toolkit's programs,
# built by the Go client from the module proxy, into DIR. Takes minutes the first time.
#
#   tools/peers.sh DIR
#
# GO=/path/to/go names the client. Exit status 1: a line on stderr says what is missing.
set -eu

module=github.com/NVIDIA/nvidia-container-toolkit
version=v1.20.0
programs='nvidia-container-runtime.cdi nvidia-cdi-hook nvidia-ctk'
mkdir -p "$1"
directory=$(cd "$1" && pwd)

missing() {
    for program in $programs; do
        [ -x "$directory/$program" ] || return 0
    done
    [ "$(cat "$directory/version" 2>/dev/null)" != "$version" ]
}

missing || exit 0

go=${GO:-$(command -v go || echo /usr/local/go/bin/go)}
if [ ! -x "$go" ] || ! command -v gcc >/dev/null; then
    echo "peers: needs Go 1.25 or newer and gcc (sudo apt-get install golang-go gcc)," \
        "or GO=/path/to/go make peers" >&2
    exit 1
fi

# go-nvml calls symbols of libnvidia-ml.so.1, which is opened at run time: the linker must let them
# be. The flags are those of the peer's Makefile (EXTLDFLAGS, and -s -w).
unresolved=-Wl,--unresolved-symbols=ignore-in-object-files
lazy=-Wl,-z,lazy
# shellcheck disable=SC2046,SC2086  # lists of words
CGO_ENABLED=1 CGO_CFLAGS="-O2 -Wno-deprecated-declarations" GOTOOLCHAIN=${GOTOOLCHAIN:-auto} GOBIN=$directory \
    nice "$go" install -trimpath -buildvcs=false \
    -ldflags "-s -w '-extldflags=-Wl,--export-dynamic $unresolved $lazy'" \
    $(for program in $programs; do echo "$module/cmd/$program@$version"; done)
echo "$version" >"$directory/version"
ls -l "$directory"
