#!/bin/sh
# Prints where this machine gets Debian from, in whatever format apt keeps its sources.
set -eu

# shellcheck disable=SC2016 # apt fills it in
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' |
    grep '/debian/$' | sort -u | head -n 1)
if ! [ "$mirror" ]; then
    echo "setup: apt knows no mirror of Debian; run apt-get update" >&2
    exit 1
fi
echo "$mirror"
