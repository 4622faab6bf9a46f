#!/bin/sh
# Builds what tests/reading asks, with the urfave/cli of runc 1.1 and of runc 1.3, into FOLDER.
#
#   tools/reading.sh FOLDER
set -eu

mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")"
go=$(./go.sh "$folder")
cd ../tests/reading
"$go" build -o "$folder/runc-1.3" .
"$go" build -modfile=runc-1.1.mod -o "$folder/runc-1.1" .
