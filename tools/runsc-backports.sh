#!/bin/sh
# Unpacks gVisor's runsc from Debian's backports into a folder and prints the program's path.
#
#   tools/runsc-backports.sh FOLDER [RELEASE]       RELEASE: bookworm
#
# Nothing is installed: apt works on lists and a cache of its own, below FOLDER. For the tests,
# which meet a second version beside the one the distribution installs. What is there stays.
set -eu

folder=$1
release=${2:-bookworm}
program=$folder/unpacked/usr/bin/runsc
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

private_apt() {
    apt-get -qq -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$folder/lists" -o Dir::Cache="$folder/cache" \
        -o APT::Sandbox::User=root "$@" >&2
}

mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
folder=$(cd "$folder" && pwd)
program=$folder/unpacked/usr/bin/runsc
exec 9>"$folder/lock"
flock 9 # two test processes may want it at once
if ! [ -x "$program" ]; then
    if ! [ -e "$keyring" ]; then
        echo "runsc-backports: $keyring is missing: this is not Debian" >&2
        exit 1
    fi
    mirror=$(sed -n 's,^deb \(\[.*\] \)\{0,1\}\([^ ]*/debian\)/\{0,1\} .*,\2,p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | head -n 1)
    echo "deb [signed-by=$keyring] ${mirror:-http://deb.debian.org/debian} $release-backports main" \
        >"$folder/sources.list"
    private_apt update
    rm -f "$folder"/runsc_*.deb
    (cd "$folder" && private_apt download runsc)
    dpkg-deb -x "$folder"/runsc_*.deb "$folder/unpacked"
    rm -rf "$folder"/runsc_*.deb "$folder/lists" "$folder/cache" # 30 MB
fi
echo "$program"
