#!/bin/sh
# pyshim's launcher: commands that do not edit a bundle become the low-level runtime right here,
# because the interpreter needs 6 ms to start and this shell 0.5. When in doubt Python decides:
# it parses what this only glances at, and words all errors.
# The environment is the low-level runtime's: what is set here starts with pyshim_, and what Python
# must start without is put back by start.py.
set -f

# What the loader and the C library read (ld.so(8), mallopt(3)): meant for the engine, whose
# LD_LIBRARY_PATH (snap, conda, modules) may hold libraries that this interpreter cannot use.
# Python's own variables it does not read (-I).
pyshim_loader='GCONV_PATH GLIBC_TUNABLES LD_ASSUME_KERNEL LD_AUDIT LD_BIND_NOT LD_BIND_NOW LD_DEBUG
    LD_DEBUG_OUTPUT LD_DYNAMIC_WEAK LD_HWCAP_MASK LD_LIBRARY_PATH LD_ORIGIN_PATH LD_POINTER_GUARD
    LD_PREFER_MAP_32BIT_EXEC LD_PRELOAD LD_PROFILE LD_PROFILE_OUTPUT LD_SHOW_AUXV
    LD_TRACE_LOADED_OBJECTS LD_TRACE_PRELINKING LD_USE_LOAD_BIAS LD_VERBOSE LD_WARN LOCPATH
    MALLOC_ARENA_MAX MALLOC_ARENA_TEST MALLOC_CHECK_ MALLOC_MMAP_MAX_ MALLOC_MMAP_THRESHOLD_
    MALLOC_PERTURB_ MALLOC_TOP_PAD_ MALLOC_TRACE MALLOC_TRIM_THRESHOLD_'

pyshim_gone() { # As ocishim/log.py: the engine reads --log, people read stderr.
    printf '%s\n' @GONE@ >&2
    pyshim_flag=
    pyshim_log=
    pyshim_record=@TEXT_RECORD@
    for pyshim_arg do
        # A flag that waits for its value makes one word with it.
        pyshim_arg=$pyshim_flag$pyshim_arg
        pyshim_flag=
        case $pyshim_arg in
        --log=* | -log=* | -l=*) pyshim_log=${pyshim_arg#*=} ;;
        --log-format=json | -log-format=json) pyshim_record=@JSON_RECORD@ ;;
        *=*) ;;
        --log | -log | -l | --log-format | -log-format | --log-level | -log-level) ;;
        --root | -root | -r | --criu | -criu | --cgroup-manager | --platform) ;;
        --) break ;;
        -*) continue ;; # a switch
        *) break ;;     # the command
        esac
        case $pyshim_arg in
        *=*) ;;
        *) pyshim_flag=$pyshim_arg= ;;
        esac
    done
    if [ "$pyshim_log" ]; then
        pyshim_time=$(PATH=/usr/bin:/bin date -u +%Y-%m-%dT%H:%M:%SZ)
        # shellcheck disable=SC2059
        { printf "$pyshim_record" "$pyshim_time" >>"$pyshim_log"; } 2>/dev/null
    fi
    exit 1
}

pyshim_python() {
    [ -x @PYTHON@ ] || pyshim_gone "$@"
    # CPython takes UTF-8 in this locale (PEP 540), reads none from the disk and sets no LC_CTYPE
    # (PEP 538); and it ignores SIGPIPE and SIGXFSZ. The second argument and those up to an empty
    # one let start.py undo all. 0.2 ms, and only where Python costs 6.
    pyshim_stat=
    IFS= read -r pyshim_stat 2>/dev/null </proc/self/stat
    set -- '' "$@"
    pyshim_set='' pyshim_value=''
    for pyshim_name in LC_ALL $pyshim_loader; do
        eval "pyshim_set=\${$pyshim_name+yes} pyshim_value=\${$pyshim_name-}"
        [ "$pyshim_set" ] && set -- "$pyshim_name=$pyshim_value" "$@"
    done
    # shellcheck disable=SC2086
    unset $pyshim_loader
    export LC_ALL=C
    exec @PYTHON@ -I -S @MAIN@ "$0" "$pyshim_stat" "$@"
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
