#!/bin/sh
# Builds youki, the OCI runtime in Rust, into a folder: no Debian or Ubuntu has a package of it.
#
#   tools/youki.sh FOLDER
#
# The version is pinned here, its libraries by the Cargo.lock it comes with. Needs Rust 1.85 (its
# edition, 2024) and libseccomp's headers: the Rust that is there, else Debian's for browsers. Four
# minutes of one processor. What is there stays; sources and what cargo builds are removed.
set -eu

version=0.7.0
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")"

# Rust 1.N of cargo's, not what rustup's wrapper of that name would have to fetch.
recent() {
    minor=$("$1" --version 2>/dev/null | sed -n 's/^cargo 1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge 85 ]
}

find_cargo() {
    for candidate in "$(command -v cargo)" "${CARGO_HOME:-$HOME/.cargo}/bin/cargo"; do
        if [ -x "$candidate" ] && recent "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

get_cargo() {
    ./packages.sh rust >&2 && find_cargo
}

exec 9>"$folder/lock"
flock 9
[ "$(cat "$folder/version" 2>/dev/null)" != "$version" ] || exit 0
./packages.sh youki
if ! cargo=$(find_cargo || get_cargo); then
    echo "youki: no Rust 1.85 or newer: apt-get install cargo-web, or https://rustup.rs" >&2
    exit 1
fi
echo "youki: building it with $cargo, some minutes" >&2
PATH=$(dirname "$cargo"):$PATH CARGO_PROFILE_RELEASE_STRIP=true \
    nice "$cargo" install --quiet youki --version "$version" --locked --root "$folder/installed" \
    --target-dir "$folder/target" --no-default-features --features v1,v2,systemd,seccomp
mv "$folder/installed/bin/youki" "$folder/youki"
rm -rf "$folder/installed" "$folder/target"
echo "$version" >"$folder/version"
