#!/bin/sh
# Unpacks packages of Debian's backports into a folder and prints the path of one program of theirs.
#
#   tools/backports.sh FOLDER PROGRAM PACKAGE...       PROGRAM: usr/bin/runsc
#
# Nothing is installed: apt works on lists and a cache of its own, below FOLDER. For programs that
# the tests want in a newer version than the distribution's. What is there stays.
# RELEASE=bookworm names the release the packages are built for.
set -eu

folder=$1
program=$2
shift 2
release=${RELEASE:-bookworm}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

private_apt() {
    apt-get -qq -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$folder/lists" -o Dir::Cache="$folder/cache" \
        -o APT::Sandbox::User=root "$@" >&2
}

mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
folder=$(cd "$folder" && pwd)
exec 9>"$folder/lock"
flock 9 # two test processes may want it at once
if ! [ -x "$folder/unpacked/$program" ]; then
    if ! [ -e "$keyring" ]; then
        echo "backports: $keyring is missing: this is not Debian" >&2
        exit 1
    fi
    # Where the distribution itself comes from, in whatever format apt keeps its sources.
    # shellcheck disable=SC2016 # apt fills it in
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' |
        grep '/debian/$' | sort -u | head -n 1)
    if ! [ "$mirror" ]; then
        echo "backports: apt knows no mirror of Debian; run apt-get update" >&2
        exit 1
    fi
    echo "deb [signed-by=$keyring] $mirror $release-backports main" >"$folder/sources.list"
    private_apt update
    rm -f "$folder"/*.deb
    (cd "$folder" && private_apt download "$@")
    for package in "$folder"/*.deb; do
        dpkg-deb -x "$package" "$folder/unpacked"
    done
    rm -rf "$folder"/*.deb "$folder/lists" "$folder/cache" # 30 MB
fi
echo "$folder/unpacked/$program"
