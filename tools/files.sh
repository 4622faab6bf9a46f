#!/bin/sh
# Prints the repository's files, each with a NUL behind it: what git does not ignore, and where there is no
# git or no clone (a tarball) all but the folders that .gitignore names.
#
#   tools/files.sh [PATTERN]       PATTERN: '*.sh', as of git ls-files and find -name
set -eu

cd "$(dirname "$0")/.."
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    exec git ls-files -z --cached --others --exclude-standard -- "${1:-.}"
fi
# Each line of .gitignore ends in a slash; with one at its beginning it is a folder here.
set -- "${1:-*}" -path ./.git
while read -r line; do
    line=${line%/}
    case $line in
        /*) set -- "$@" -o -path ".$line" ;;
        *) set -- "$@" -o -name "$line" ;;
    esac
done <.gitignore
pattern=$1
shift
exec find . \( "$@" \) -prune -o ! -type d -name "$pattern" -print0
