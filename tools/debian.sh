#!/bin/sh
# Runs a command in a copy of this working tree on a machine that has nothing: a Debian of its own in
# FOLDER, with mounts and processes of its own. Needs root.
#
#   tools/debian.sh SUITE FOLDER COMMAND       SUITE: bookworm, trixie, sid ...
#
# FOLDER/bare stays; FOLDER/root, where the command runs, is made from it anew. What lets this machine
# reach its package registries comes along: certificates, proxies, pip's, Go's and apt's settings; beside
# it only the programs that this tree has built from Go (build/crictl, build/runc, peers/containerd2).
set -eu

suite=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
command=$3
cd "$(dirname "$0")/.."

root=$folder/root
tree=$root/srv/pyshim

if [ "$(id -u)" != 0 ]; then
    echo "debian: needs root, for a root file system and namespaces" >&2
    exit 1
fi

bring_settings() {
    [ ! -e /etc/pip.conf ] || cp -L /etc/pip.conf "$root/etc/pip.conf"
    # Proxies are spelled small and large.
    env | grep -iE '^((TESTED)|(PIP_(INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|DEFAULT_TIMEOUT))|GOPROXY|GO(NO)?SUMDB|(https?|no)_proxy)=' \
        >"$root/srv/environment" || true
}

bring_tree() {
    mkdir -p "$tree"
    tools/files.sh >"$folder/files"
    # Files that are deleted and not yet committed are listed all the same.
    tar --null --files-from="$folder/files" --ignore-failed-read --warning=no-failed-read -c |
        tar -x -C "$tree" --no-same-owner
    for built in build/crictl build/runc peers/containerd2; do
        [ -e "$built" ] || continue
        mkdir -p "$tree/${built%/*}"
        cp -a "$built" "$tree/$built"
    done
}

# Everything mounted here is gone with the last of its processes.
enter() {
    # shellcheck disable=SC2016 # expanded inside
    unshare --mount --pid --fork --kill-child --propagation private sh -euc '
        mount --bind "$1" "$1"
        cd "$1"
        mount -t proc proc proc
        mount -t sysfs sysfs sys
        mount --rbind /sys/fs/cgroup sys/fs/cgroup
        mount --rbind /dev dev
        mount --make-rslave dev
        mount -t tmpfs -o mode=755 tmpfs run
        mkdir -m 1777 run/lock
        cp -L /etc/resolv.conf /etc/hosts etc/
        mkdir -p .host
        pivot_root . .host
        umount -l .host
        rmdir .host
        cd /srv/pyshim
        exec env -i $(cat /srv/environment) HOME=/root LANG=C.UTF-8 TERM=dumb CI=true \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
            PIP_CERT=/etc/ssl/certs/ca-certificates.crt sh -c "$2"
    ' enter "$root" "$command"
}

tools/debootstrap.sh "$suite" "$folder/bare" ca-certificates,git,make
rm -rf "$root"
cp -a "$folder/bare" "$root"
bring_settings
bring_tree
status=0
enter || status=$?
[ "${TESTED:-}" != yes ] || cp "$tree/docs/tested.md" docs/tested.md
exit "$status"
