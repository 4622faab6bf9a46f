#!/bin/sh
# Makes a bare Debian in a folder, which nobody is to write to: it stays for the next time.
#
#   tools/debootstrap.sh SUITE FOLDER PACKAGES [READY...]
#
# PACKAGES are installed, separated by commas; READY lie in its apt's cache, with what they need.
# The certificates and apt's settings by which this machine reaches its mirror come along, and lists
# that are signed are good whatever their age: the folder stays, sid's expire in a week.
# Needs root.
set -eu

suite=$1
mkdir -p "$(dirname "$2")"
folder=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
packages=$3
shift 3
cd "$(dirname "$0")"

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
new=$folder.new

exec 9>"$folder.lock"
flock 9 # two test processes may want it at once
[ "$(cat "$folder/srv/made" 2>/dev/null)" != "$suite $packages $*" ] || exit 0
./packages.sh debian
mirror=$(./mirror.sh)
echo "debootstrap: making a bare $suite in $folder, some minutes" >&2
rm -rf "$folder" "$new"
if ! debootstrap --variant=minbase --include="$packages" --keyring="$keyring" "$suite" "$new" \
    "$mirror" >"$folder.log" 2>&1; then
    tail -n 5 "$folder.log" >&2
    exit 1
fi
echo "deb $mirror $suite main" >"$new/etc/apt/sources.list"
{
    apt-config dump | grep '^Acquire::https\?::' || true
    echo 'Acquire::Check-Valid-Until "false";'
} >"$new/etc/apt/apt.conf.d/90host"
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
if [ -e "$certificates" ]; then
    mkdir -p "$new/etc/ssl/certs"
    cp -L "$certificates" "$new/etc/ssl/certs/ca-certificates.crt"
fi
if [ $# != 0 ]; then
    cp -L /etc/resolv.conf "$new/etc/resolv.conf"
    chroot "$new" apt-get -qq update
    chroot "$new" apt-get -qq -y --no-install-recommends --download-only install "$@" >/dev/null
fi
echo "$suite $packages $*" >"$new/srv/made"
mv -T "$new" "$folder"
