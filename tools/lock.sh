#!/bin/sh
# Writes tools/lock anew: the newest versions, with hashes, of all that make installs with pip, for
# every Python from 3.10 on. `base` is the project's own needs and what builds it, the other files
# are its extras of that name. tools/venv.sh installs from them.
#
#   tools/lock.sh
set -eu

extras='test check bench fuzz'
cd "$(dirname "$0")/.."
python=${PYTHON:-/usr/bin/python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check uv tomlkit
"$work/venv/bin/python" -c '
import tomlkit
print(*tomlkit.load(open("pyproject.toml"))["build-system"]["requires"], sep="\n")' >"$work/build.in"

# compile FILE INPUT... [OPTION...]
compile() {
    file=$1
    shift
    "$work/venv/bin/uv" pip compile --quiet --no-config --universal --python-version 3.10 \
        --generate-hashes --no-annotate --custom-compile-command 'make lock' --output-file "$file" "$@" >/dev/null
}

# Everything at once first: no package has two versions in two files.
compile "$work/all.txt" pyproject.toml --all-extras "$work/build.in"
compile tools/lock/base.txt pyproject.toml "$work/build.in" --constraints "$work/all.txt"
for extra in $extras; do
    compile "tools/lock/$extra.txt" pyproject.toml --extra "$extra" --constraints "$work/all.txt"
done
