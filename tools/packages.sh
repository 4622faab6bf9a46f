#!/bin/sh
# Installs the Debian or Ubuntu packages of tools/packages that are missing, for the groups named.
#
#   tools/packages.sh venv demo
#
# As root it installs them; otherwise it says which are missing and the command that gets them.
# Exit status 1: something is still missing, and a line on stderr says what.
# No service that they bring, or their dependencies, stays enabled or running: the tests start their
# own daemons and stop them. Services that were there before are left alone.
# SETUP=no leaves packages alone: for machines that have the programs by other means.
set -eu

list=$(dirname "$0")/packages
policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d}

say() { echo "setup: $*" >&2; }

wanted() {
    for group in "$@"; do
        awk -v group="$group" '
            /^#/ { next }
            { sub(/#.*/, ""); for (i = 2; i <= NF; i++) if ($i == group) print $1 }' "$list"
    done | sort -u
}

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing() {
    for package in $(wanted "$@"); do
        installed "$package" || superfluous "$package" || echo "$package"
    done
}

available() {
    apt-cache policy "$1" | grep -q 'Candidate: [0-9]'
}

superfluous() {
    wanted optional | grep -qxF "$1" && ! available "$1"
}

forbid_services() {
    [ -e "$policy" ] && return
    # invoke-rc.d(8): exit status 101 keeps a maintainer script from starting its service.
    trap 'rm -f "$policy"' EXIT INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

# systemd's units, the machine's and each user's, as "--system NAME" and "--global NAME".
units() {
    command -v systemctl >/dev/null || return 0
    for scope in --system --global; do
        systemctl --root=/ "$scope" list-unit-files --no-legend --no-pager | awk -v s="$scope" '{ print s, $1 }'
    done
}

# Disables and stops the units that are not among $1. What was there before is its owner's.
silence_new_units() {
    units | grep -vxF -e "$1" | while read -r scope unit; do
        systemctl --root=/ "$scope" --quiet disable "$unit" 2>/dev/null || true
        if [ "$scope" = --system ] && [ -d /run/systemd/system ]; then
            systemctl stop "$unit" 2>/dev/null || true
        fi
    done
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || say "apt-get update failed; going on with the package lists at hand"
    to_get=
    for package in $(missing "$@"); do # apt may know more of them now
        if available "$package"; then
            to_get="$to_get $package"
        else
            say "$package is not in this machine's package sources (/etc/apt/sources.list*)"
        fi
    done
    [ -n "$to_get" ] || return 0
    say "installing$to_get"
    before=$(units)
    forbid_services
    # shellcheck disable=SC2086  # a list of words
    apt-get install -qq -y --no-install-recommends $to_get >/dev/null || say "apt-get install failed"
    silence_new_units "$before"
}

main() {
    if [ "${SETUP:-}" = no ]; then
        return 0
    elif ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        say "this is neither Debian nor Ubuntu; install what these packages hold," \
            "then run make again with SETUP=no:" "$(wanted "$@" | tr '\n' ' ')"
        return 1
    fi
    lacking=$(missing "$@")
    [ -n "$lacking" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        # shellcheck disable=SC2086
        say "missing packages:" $lacking
        # shellcheck disable=SC2086
        say "to get them: sudo apt-get update && sudo apt-get install --no-install-recommends" $lacking
        return 1
    fi
    install_packages "$@"
    [ -z "$(missing "$@")" ]
}

main "$@"
