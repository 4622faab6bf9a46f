#!/bin/sh
# Prints the path of a Go 1.21 or newer, which gets the version that a module asks for by itself
# (GOTOOLCHAIN=auto): the one that is there, else Debian's backports' unpacked into FOLDER/go (Debian
# 12 has 1.19), or Ubuntu's package.
#
#   tools/go.sh FOLDER
#
# GO=/path/to/go names one. Exit status 1: a line on stderr says what is missing.
set -eu

folder=$(cd "$1" && pwd)
cd "$(dirname "$0")"

# Go's toolchains get newer ones themselves since 1.21.
recent() {
    minor=$("$1" env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge 21 ]
}

find_go() {
    for candidate in "${GO:-}" "$(command -v go)" /usr/local/go/bin/go /usr/lib/go-*/bin/go; do
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

if ! find_go && ! get_go; then
    echo "setup: no Go 1.21 or newer: apt-get install golang-go, or https://go.dev/dl" >&2
    exit 1
fi
