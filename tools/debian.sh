#!/bin/sh
# Runs a command in a copy of this working tree on a machine that has nothing: a Debian of its own in
# FOLDER, with mounts and processes of its own. Needs root.
#
#   tools/debian.sh SUITE FOLDER COMMAND       SUITE: bookworm, trixie, sid ...
#
# FOLDER/bare is debootstrap's and stays; FOLDER/root, where the command runs, is made from it anew.
# What lets this machine reach its package registries comes along: certificates, pip's, Go's and apt's
# settings, proxies; beside them only the programs that this tree has built from Go (build/crictl,
# peers/containerd2).
set -eu

suite=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
command=$3
cd "$(dirname "$0")/.."

bare=$folder/bare
root=$folder/root
tree=$root/srv/pyshim
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}

say() { echo "debian: $*" >&2; }

[ "$(id -u)" = 0 ] || { say "needs root, for a root file system and namespaces" && exit 1; }

bootstrap() {
    tools/packages.sh debian
    mirror=$(tools/mirror.sh)
    say "making a bare $suite in $bare, some minutes"
    rm -rf "$bare"
    if ! debootstrap --variant=minbase --include=ca-certificates,git,make --keyring="$keyring" \
        "$suite" "$bare" "$mirror" >"$folder/debootstrap.log" 2>&1; then
        tail -n 5 "$folder/debootstrap.log" >&2
        exit 1
    fi
    echo "deb $mirror $suite main" >"$bare/etc/apt/sources.list"
    touch "$bare/.made"
}

bring_settings() {
    [ ! -e "$certificates" ] || cp -L "$certificates" "$root/etc/ssl/certs/ca-certificates.crt"
    [ ! -e /etc/pip.conf ] || cp -L /etc/pip.conf "$root/etc/pip.conf"
    apt-config dump | grep '^Acquire::https\?::' >"$root/etc/apt/apt.conf.d/90host" || true
    env | grep -E '^(PIP_(INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|DEFAULT_TIMEOUT)|GO(PROXY|SUMDB|NOSUMDB))=' \
        >"$root/srv/environment" || true
    env | grep -iE '^(https?|no)_proxy=' >>"$root/srv/environment" || true
}

bring_tree() {
    mkdir -p "$tree"
    git ls-files -z --cached --others --exclude-standard |
        tar --null --files-from=- --ignore-failed-read -c 2>/dev/null | tar -x -C "$tree" --no-same-owner
    git -C "$tree" init --quiet
    git -C "$tree" add --all
    for built in build/crictl peers/containerd2; do
        [ ! -e "$built" ] || (mkdir -p "$tree/$(dirname $built)" && cp -a "$built" "$tree/$built")
    done
}

# In namespaces of its own: everything mounted here is gone with the last of its processes.
enter() {
    # shellcheck disable=SC2016 # expanded inside
    exec unshare --mount --pid --fork --kill-child --propagation private sh -euc '
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

[ -e "$bare/.made" ] || bootstrap
rm -rf "$root"
cp -a "$bare" "$root"
bring_settings
bring_tree
enter
