#!/bin/sh
# Unpacks packages of Debian's backports, or of another suite, into a folder and prints the path of
# one program of theirs.
#
#   tools/backports.sh FOLDER PROGRAM PACKAGE...       PROGRAM: usr/bin/runsc
#
# Nothing is installed, and what is installed does not count: apt works on lists and a cache of its
# own, below FOLDER. For programs that
# the tests want in a newer version than the distribution's. What is there stays.
# RELEASE=bookworm names the release the packages are built for, SUITE=sid another suite than its
# backports: then PACKAGE... names the libraries, too.
set -eu

folder=$1
program=$2
shift 2
suite=${SUITE:-${RELEASE:-bookworm}-backports}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

private_apt() {
    apt-get -qq -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$folder/lists" -o Dir::State::status=/dev/null \
        -o Dir::Cache="$folder/cache" -o APT::Sandbox::User=root "$@" >&2
}

mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
folder=$(cd "$folder" && pwd)
cd "$(dirname "$0")"
exec 9>"$folder/lock"
flock 9 # two test processes may want it at once
if ! [ -x "$folder/unpacked/$program" ]; then
    if ! [ -e "$keyring" ]; then
        echo "backports: $keyring is missing: this is not Debian" >&2
        exit 1
    fi
    mirror=$(./mirror.sh)
    echo "deb [signed-by=$keyring] $mirror $suite main" >"$folder/sources.list"
    private_apt update
    rm -f "$folder"/*.deb
    (cd "$folder" && private_apt download "$@")
    for package in "$folder"/*.deb; do
        dpkg-deb -x "$package" "$folder/unpacked"
    done
    rm -rf "$folder"/*.deb "$folder/lists" "$folder/cache" # 30 MB
fi
echo "$folder/unpacked/$program"
