#!/bin/sh
# Makes the virtual environment DIR with the project in it, editable, and the libraries that it and
# its EXTRAs (pyproject.toml) need, in the versions of tools/lock.
#
#   tools/venv.sh DIR [EXTRA,...]
#
# LOCK=no takes the newest versions instead of the lock's.
# The interpreter is a real one, never a version manager's shim: pyshim's scripts name it, and a
# shim costs 50 ms at every start. PYTHON=/path/to/python3 chooses another one.
set -eu

directory=$1
extras=${2:-}

# Prints the real interpreter behind $1, if it is there and new enough.
real() {
    "$1" -c '
import os, sys
if sys.version_info >= (3, 10):
    print(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))' 2>/dev/null
}

choose() {
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    else
        set -- /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11 python3.10
    fi
    for candidate; do
        found=$(real "$candidate") || continue
        if [ -n "$found" ]; then
            echo "$found"
            return
        fi
    done
    echo "setup: no Python 3.10 or newer (tried ${PYTHON:-/usr/bin/python3, python3.10 to python3.14});" \
        "sudo apt-get install python3, or name one: PYTHON=/path/to/python3 make venv" >&2
    return 1
}

if [ -e "$directory" ] && [ ! -w "$directory" ]; then
    echo "setup: $directory belongs to $(stat -c %U "$directory"), and $(id -un) may not write there:" \
        "sudo chown -R $(id -un) . gives this tree back" >&2
    exit 1
fi

python=$(choose)
if [ "$(real "$directory/bin/python")" != "$python" ]; then
    rm -rf "$directory"
    echo "setup: making $directory with $python, half a minute" >&2
    # PEP 668: nothing is ever installed outside the virtual environment.
    "$python" -m venv "$directory"
fi

install() {
    "$directory/bin/python" -m pip install --quiet --disable-pip-version-check --use-pep517 "$@"
}

if [ "${LOCK:-}" = no ]; then
    install --upgrade --upgrade-strategy eager --editable ".${extras:+[$extras]}"
else
    files=
    for name in base $(echo "$extras" | tr ',' ' '); do
        files="$files --requirement tools/lock/$name.txt"
    done
    # shellcheck disable=SC2086 # a list of words
    install --require-hashes $files
    # What builds the project is the lock's, too: nothing is fetched without a hash.
    install --no-deps --no-build-isolation --no-index --editable .
    if ! problems=$("$directory/bin/python" -m pip --disable-pip-version-check check); then
        printf 'setup: tools/lock is older than pyproject.toml: make lock\n%s\n' "$problems" >&2
        exit 1
    fi
fi
