#!/bin/sh
# What the installer's image runs on a node, whose root is mounted at HOST_ROOT.
#
#   installer.sh install     pyshim in place and registered; the engine restarted if need be
#   installer.sh remove      the opposite
#   installer.sh wait        nothing, until told to end
#
# ENGINE=auto|containerd|crio  PREFIX=/usr/local  SET_AS_DEFAULT=false  ENABLE_CDI=false
# CONFIG=FILE  the engine's file, and SERVICE=NAME its unit, where they are not the usual ones
set -eu

host=${HOST_ROOT:-/host}
prefix=${PREFIX:-/usr/local}
# There while the engine has yet to be restarted; a reboot, which restarts it, takes it away.
pending=$host/run/pyshim-installer.restart

say() { echo "installer: $*" >&2; }

engine() {
    if [ "${ENGINE:-auto}" != auto ]; then
        echo "$ENGINE"
    elif [ -S "$host/run/crio/crio.sock" ]; then
        echo crio
    else
        echo containerd
    fi
}

# Calls pyshimctl configure with the options given; restarts the engine if a file changed, now or
# in a try before whose restart failed: the kubelet starts a failed pod again.
configure() {
    name=$(engine)
    set -- configure "$name" --host-root "$host" --json "$@"
    [ -z "${CONFIG:-}" ] || set -- "$@" --config "$CONFIG"
    # Who names the engine knows it; its program may lie where nobody looks.
    [ "${ENGINE:-auto}" = auto ] || set -- "$@" --force
    report=$(pyshimctl "$@")
    printf '%s\n' "$report" # echo would take a backslash for its own
    case $report in
    *'"changed": true'*)
        mkdir -p "$host/run"
        : >"$pending"
        ;;
    esac
    [ -e "$pending" ] || return 0
    say "restarting ${SERVICE:-$name}"
    # systemctl talks to the node's systemd, which lives in the namespaces of process 1.
    nsenter --target 1 --mount --uts --ipc --net -- systemctl restart "${SERVICE:-$name}"
    rm "$pending"
}

install() {
    pyshimctl install --host-root "$host" --prefix "$prefix"
    set -- --runtime-path "$prefix/bin/pyshim"
    [ "${SET_AS_DEFAULT:-false}" = false ] || set -- "$@" --set-as-default
    [ "${ENABLE_CDI:-false}" = false ] || set -- "$@" --enable-cdi
    configure "$@"
}

remove() {
    configure --remove
    pyshimctl uninstall --host-root "$host" --prefix "$prefix"
}

wait_for_the_end() {
    trap 'exit 0' TERM INT
    while :; do
        sleep 3600 &
        wait $!
    done
}

case ${1:-install} in
install) install ;;
remove) remove ;;
wait) wait_for_the_end ;;
*)
    say "what is '$1'? install, remove or wait"
    exit 2
    ;;
esac
