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

pyshim_find() { # PID: pyshim_warm is its child of that name, N and M are its pipes' descriptors.
    pyshim_children=
    # The list ends without a newline: read fails, and has it all the same.
    read -r pyshim_children 2>/dev/null <"/proc/$1/task/$1/children"
    for pyshim_warm in $pyshim_children; do
        read -r pyshim_name 2>/dev/null <"/proc/$pyshim_warm/comm" || continue
        case $pyshim_name in pyshim:*:*) return 0 ;; esac
    done
    return 1
}

pyshim_ask() {
    pyshim_read self || return 1
    pyshim_own=$pyshim_pid
    # A hook is a child of the runtime or of the container's first process.
    pyshim_find "$pyshim_parent" ||
        { pyshim_read "$pyshim_parent" && pyshim_find "$pyshim_parent"; } || return 1
    pyshim_pipes=${pyshim_name#pyshim:}
    pyshim_answer=
    { # When the process dies, read ends.
        echo "$pyshim_own" >&3 && read -r pyshim_answer <&4
    } 2>/dev/null 3>"/proc/$pyshim_warm/fd/${pyshim_pipes%:*}" \
        4<"/proc/$pyshim_warm/fd/${pyshim_pipes#*:}"
    case $pyshim_answer in
    [01]) exit "$pyshim_answer" ;;
    esac
}

# 7 and 8 stay what they are while redirections put others at 0 and 2.
pyshim_ask 7<&0 8>&2
exec @HOOK@ "$@"
