#!/bin/sh
# pyshim's launcher: commands that do not edit a bundle become the low-level runtime right here,
# because the interpreter needs 6 ms to start and this shell 0.5. When in doubt Python decides:
# it parses what this only glances at, and words all errors.
# The environment is the low-level runtime's: what is set here starts with pyshim_, but for LC_ALL,
# which start.py puts back.
set -f

pyshim_python() {
    if ! [ -x @PYTHON@ ]; then
        printf 'pyshim: the interpreter %s is gone; install pyshim again\n' @INTERPRETER@ >&2
        exit 1
    fi
    # CPython takes UTF-8 in this locale (PEP 540), reads none from the disk and sets no LC_CTYPE
    # (PEP 538); and it ignores SIGPIPE and SIGXFSZ. The second and the third argument let start.py
    # undo both. 0.15 ms, and only where Python costs 6.
    pyshim_locale=${LC_ALL+=$LC_ALL}
    export LC_ALL=C
    pyshim_stat=
    IFS= read -r pyshim_stat 2>/dev/null </proc/self/stat
    exec @PYTHON@ -I -S @MAIN@ "$0" "$pyshim_locale" "$pyshim_stat" "$@"
}

# A shell always exports PWD. Engines, unlike people's shells (SHLVL), start us without it.
[ "${SHLVL+set}" ] || unset PWD

for pyshim_arg do
    case $pyshim_arg in
    create | run | restore) pyshim_python "$@" ;;
    esac
done

# The one setting a command that passes through needs: the first line of the file that is not a
# comment, by default. Read up to the first table, so a broken file does not block a kill.
pyshim_config=${PYSHIM_CONFIG:-@CONFIG@}
pyshim_names='"runc", "crun"'
if [ -e "$pyshim_config" ]; then
    if ! [ -f "$pyshim_config" ] || ! [ -r "$pyshim_config" ]; then pyshim_python "$@"; fi
    pyshim_unclear=
    while IFS= read -r pyshim_line || [ "$pyshim_line" ]; do
        case $pyshim_line in
        runtimes\ =\ [[]*[\\\'\#]*[]]) pyshim_unclear=yes && break ;;
        runtimes\ =\ [[]*\"*[]])
            pyshim_names=${pyshim_line#*[[]}
            pyshim_names=${pyshim_names%]}
            break
            ;;
        [[]*) break ;;
        \#* | '') ;;
        *) pyshim_unclear=yes && break ;;
        esac
    done <"$pyshim_config"
    # Not inside the loop: there standard input is the file.
    if [ "$pyshim_unclear" ]; then pyshim_python "$@"; fi
fi

pyshim_try() {
    # -x alone is true for folders; -ef: never ourselves, by whatever name (dash, ash, bash, ksh).
    # shellcheck disable=SC3013
    if [ -f "$1" ] && [ -x "$1" ] && ! [ "$1" -ef "$0" ]; then
        pyshim_found=$1
        shift
        exec "$pyshim_found" "$@"
    fi
    [ -e "$1" ] && return 1
    return 0
}

while :; do
    case $pyshim_names in
    *\"*\"*) ;;
    *) break ;;
    esac
    pyshim_names=${pyshim_names#*\"}
    pyshim_name=${pyshim_names%%\"*}
    pyshim_names=${pyshim_names#*\"}
    case $pyshim_name in
    */*) pyshim_try "$pyshim_name" "$@" || break ;;
    *)
        pyshim_ifs=$IFS
        IFS=:
        for pyshim_dir in ${PATH-} /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
            IFS=$pyshim_ifs
            case $pyshim_dir in
            /*) pyshim_try "$pyshim_dir/$pyshim_name" "$@" || break 2 ;;
            esac
        done
        IFS=$pyshim_ifs
        ;;
    esac
done
pyshim_python "$@"
