#!/bin/sh
# Unpacks packages of Debian's backports, or of another suite, into a folder and prints the path of
# one program of theirs.
#
#   tools/backports.sh FOLDER PROGRAM PACKAGE...       PROGRAM: usr/bin/runsc
#
# Nothing is installed, and what is installed does not count: apt works on lists and a cache of its
# own, below FOLDER. For programs that the tests want in a newer version than the distribution's.
# What is there stays. RELEASE=bookworm names the release the packages are built for, SUITE=sid another
# suite than its backports; LIBRARIES=yes brings all that the packages depend on, for another release.
# A list that is signed is good whatever its age: sid's expires in a week, and mirrors may stand still.
# ARCH=arm64: packages of another processor's. FOLDER/versions says what was unpacked.
set -eu

folder=$1
program=$2
shift 2
suite=${SUITE:-${RELEASE:-bookworm}-backports}
arch=${ARCH:-$(dpkg --print-architecture)}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

private_apt() {
    apt-get -qq -o "APT::Architecture=$arch" -o "APT::Architectures=$arch" \
        -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$folder/lists" -o Dir::State::status=/dev/null \
        -o Dir::Cache="$folder/cache" -o APT::Sandbox::User=root -o APT::Install-Recommends=false \
        -o Acquire::Check-Valid-Until=false "$@" >&2
}

get() {
    if [ "${LIBRARIES:-}" = yes ]; then
        private_apt install -y --download-only "$@"
    else
        (cd "$folder/cache/archives" && private_apt download "$@")
    fi
}

mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
folder=$(cd "$folder" && pwd)
cd "$(dirname "$0")"
exec 9>"$folder/lock"
flock 9 # two test processes may want it at once
if ! [ -e "$folder/unpacked/$program" ]; then
    if ! [ -e "$keyring" ]; then
        echo "backports: $keyring is missing: this is not Debian" >&2
        exit 1
    fi
    mirror=$(./mirror.sh)
    echo "deb [signed-by=$keyring] $mirror $suite main" >"$folder/sources.list"
    private_apt update
    rm -rf "$folder/unpacked" "$folder/new" "$folder"/cache/archives/*.deb
    get "$@"
    for package in "$folder"/cache/archives/*.deb; do
        # shellcheck disable=SC2016 # dpkg-deb fills it in
        dpkg-deb -W --showformat='${Package} ${Version}\n' "$package"
        dpkg-deb -x "$package" "$folder/new"
    done >"$folder/versions"
    mv "$folder/new" "$folder/unpacked"
    rm -rf "$folder/lists" "$folder/cache" # 30 MB
fi
echo "$folder/unpacked/$program"
