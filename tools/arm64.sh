#!/bin/sh
# Builds a small arm64 machine for qemu into a folder: Debian 12's kernel and programs for arm64.
#
#   tools/arm64.sh FOLDER PYTHON
#
# Leaves FOLDER/vmlinuz and FOLDER/initrd, which tools/arm64/boot.sh starts. Nothing is installed for
# arm64 and nothing registered on this machine: apt works on lists and a cache of its own. PYTHON's
# pip gets the tests' libraries for arm64. 150 MB, half a minute; what is there stays.
set -eu

packages='linux-image-cloud-arm64 kmod python3 python3-venv gcc libc6-dev linux-libc-dev busybox-static
    runc libc-bin strace util-linux mount coreutils bash dash grep sed mawk gzip tar findutils
    squashfs-tools erofs-utils iproute2 base-files base-passwd procps libcap2-bin tiny-initramfs-core'
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

mkdir -p "$1"
folder=$(cd "$1" && pwd)
python=$2
own=$(cd "$(dirname "$0")" && pwd)
root=$folder/root
site=$root/srv/site

private_apt() {
    DEBIAN_FRONTEND=noninteractive APT_CONFIG="$folder/apt/options" apt-get -qq "$@"
}

get_packages() {
    [ -e "$keyring" ] || { echo "arm64: $keyring is missing: this is not Debian" >&2; exit 1; }
    mirror=$("$own/mirror.sh")
    mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial"
    : >"$folder/apt/status"
    echo "deb [signed-by=$keyring] $mirror bookworm main" >"$folder/apt/sources.list"
    cat >"$folder/apt/options" <<OPTIONS
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Dir::Etc::sourcelist "$folder/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "$folder/apt";
Dir::State::status "$folder/apt/status";
Dir::Cache "$folder/apt";
OPTIONS
    private_apt update
    # shellcheck disable=SC2086  # a list of words
    private_apt install -y --download-only $packages >/dev/null
}

unpack() {
    for package in "$folder"/apt/archives/*.deb; do
        dpkg-deb -x "$package" "$root"
    done
    rm -rf "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale"
    ln -s mawk "$root/usr/bin/awk"
    for file in passwd group; do
        cp "$root/usr/share/base-passwd/$file.master" "$root/etc/$file"
    done
    release=$(ls "$root/lib/modules")
    /sbin/depmod -b "$root" "$release"
    mv "$root"/boot/vmlinuz-* "$folder/vmlinuz"
    "$python" -m pip install --quiet --disable-pip-version-check --no-compile --target "$site" \
        --platform manylinux2014_aarch64 --platform manylinux_2_28_aarch64 --only-binary=:all: \
        --implementation cp --python-version 3.11 --require-hashes \
        --requirement "$own/lock/base.txt" --requirement "$own/lock/test.txt"
}

pack() {
    first=$folder/first # what the kernel starts: it makes the root and goes there
    mkdir -p "$first/bin" "$first/modules" "$first/image" "$first/layer" "$first/new" \
        "$first/proc" "$first/sys" "$first/dev"
    cp "$root/bin/busybox" "$first/bin"
    for module in drivers/block/loop fs/squashfs/squashfs fs/overlayfs/overlay; do
        cp "$root/lib/modules/$release/kernel/$module.ko" "$first/modules"
    done
    install -m 755 "$own/arm64/init" "$first/init"
    mksquashfs "$root" "$first/root.squashfs" -comp lz4 -quiet -no-progress
    (cd "$first" && find . | cpio -o -H newc --quiet) >"$folder/initrd.new"
}

exec 9>"$folder/lock"
flock 9
[ ! -e "$folder/initrd" ] || exit 0
echo "arm64: building a machine for qemu" >&2
rm -rf "$root" "$folder/first"
mkdir "$root"
get_packages
unpack
pack
rm -rf "$root" "$folder/first" "$folder/apt"
mv "$folder/initrd.new" "$folder/initrd"
