#!/bin/sh
# pyshim's createContainer hooks, started by the low-level runtime with the state on stdin.
# A process that pyshim forked before it became that runtime has everything loaded: the runtime's
# child pyshim:N:M (ocishim/warmstart.py). It does the work in our mount namespace, with our stdin
# and stderr, and answers by a pipe: 1 ms here instead of an interpreter's 7. Whatever is in the
# way, the program below does the same.
set -f

pyshim_read() { # PID: pyshim_pid and pyshim_parent, as /proc numbers them: it is the host's still.
    pyshim_pid=
    while read -r pyshim_key pyshim_value; do
        case $pyshim_key in
        Pid:) pyshim_pid=$pyshim_value ;;
        PPid:) pyshim_parent=$pyshim_value && return 0 ;;
        esac
    done 2>/dev/null <"/proc/$1/status"
    return 1
}

pyshim_session() { # PID: pyshim_sid is its session (proc(5), /proc/PID/stat).
    pyshim_stat=
    read -r pyshim_stat 2>/dev/null <"/proc/$1/stat"
    # shellcheck disable=SC2086
    set -- ${pyshim_stat##*)}
    pyshim_sid=$4
}

# The parent may be an engine's process with children in containers, which can take any name. What
# pyshim forked is in its parent's mount namespace, or, where that has taken a new one, in its
# session, which runtimes let no container have. -ef: dash, ash, bash, ksh.
pyshim_trust() { # PID PARENT
    # shellcheck disable=SC3013
    [ "/proc/$1/ns/mnt" -ef "/proc/$2/ns/mnt" ] && return 0
    pyshim_session "$1"
    pyshim_own_sid=$pyshim_sid
    pyshim_session "$2"
    [ "$pyshim_sid" ] && [ "$pyshim_sid" = "$pyshim_own_sid" ]
}

pyshim_find() { # PID: pyshim_warm is its child, pyshim_in and pyshim_out its pipes' descriptors.
    pyshim_children=
    # The list ends without a newline: read fails, and has it all the same.
    read -r pyshim_children 2>/dev/null <"/proc/$1/task/$1/children"
    for pyshim_warm in $pyshim_children; do
        read -r pyshim_name 2>/dev/null <"/proc/$pyshim_warm/comm" || continue
        pyshim_out=${pyshim_name##*:}
        pyshim_in=${pyshim_name#pyshim:}
        pyshim_in=${pyshim_in%%:*}
        case $pyshim_in$pyshim_out in *[!0-9]*) continue ;; esac
        [ "$pyshim_name" = "pyshim:$pyshim_in:$pyshim_out" ] &&
            pyshim_trust "$pyshim_warm" "$1" && return 0
    done
    return 1
}

pyshim_ask() {
    pyshim_read self || return 1
    pyshim_own=$pyshim_pid
    # A hook is a child of the runtime or of the container's first process.
    pyshim_find "$pyshim_parent" ||
        { pyshim_read "$pyshim_parent" && pyshim_find "$pyshim_parent"; } || return 1
    pyshim_answer=
    trap '' PIPE
    { # When the process dies, echo fails or read ends. >>: whatever it is, nothing is cut off.
        echo "$pyshim_own" >&3 && read -r pyshim_answer <&4
    } 2>/dev/null 3>>"/proc/$pyshim_warm/fd/$pyshim_in" 4<"/proc/$pyshim_warm/fd/$pyshim_out"
    trap - PIPE
    case $pyshim_answer in
    [01]) exit "$pyshim_answer" ;;
    esac
}

# 7 and 8 stay what they are while redirections put others at 0 and 2.
pyshim_ask 7<&0 8>&2
exec @HOOK@ "$@"
