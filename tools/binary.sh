#!/bin/sh
# Builds pyshim as one static file: build/pyshim, or for another processor than this machine's
# build/pyshim-ARCH.
#
#   tools/binary.sh [ARCH]        ARCH: amd64 or arm64
#
# CPython comes from Debian's source package (binary/cpython), the libraries from PyPI by digest
# (binary/*.txt). What takes minutes is done once, in build/binary; a change of Python or of our C
# freezes and links anew. The same sources and compiler give the same bytes, wherever they lie.
set -eu

arch=${1:-$(dpkg --print-architecture)}
case $arch in
amd64) triplet=x86_64-linux-gnu ;;
arm64) triplet=aarch64-linux-gnu ;;
*) echo "binary: ARCH is amd64 or arm64, not '$arch'" >&2 && exit 2 ;;
esac

repository=$(cd "$(dirname "$0")/.." && pwd)
work=$repository/build/binary
target=$work/$arch
cpython=$work/cpython-$arch
linked="libcap-dev libyaml-dev zlib1g-dev"
file=$repository/build/pyshim
libc=libc6-dev
libraries='' # where they and their headers lie
foreign=''   # the folder of those of another processor
emulator=''  # what runs its programs
if [ "$arch" != "$(dpkg --print-architecture)" ]; then
    file=$file-$arch
    libc=$libc-$arch-cross
    foreign=$work/foreign-$arch
    emulator=$(command -v qemu-aarch64-static || command -v qemu-aarch64)
    unpacked=$foreign/unpacked/usr
    libraries="-isystem $unpacked/include -isystem $unpacked/include/$triplet -L$unpacked/lib/$triplet"
fi
# shellcheck disable=SC1091
. "$repository/binary/cpython"
jobs=$(nproc)

# Nothing of this machine, of the folder or of the day gets into the file.
export LC_ALL=C TZ=UTC PYTHONHASHSEED=0 SOURCE_DATE_EPOCH=1700000000
umask 022
# A file that the runtime's hooks start in a container: no relocations at its start, no stack that
# can be executed.
flags="-O2 -g0 -fno-pie -ffunction-sections -fdata-sections -ffile-prefix-map=$work=. -ffile-prefix-map=$repository=."
hardening="-fstack-protector-strong -D_FORTIFY_SOURCE=2 -Wdate-time"
link="-static -no-pie -Wl,-z,noexecstack,-z,relro,-z,now,--gc-sections,--build-id=none,--hash-style=gnu"

say() { echo "binary: $*" >&2; }

# once NAME FILES COMMAND: unless it was done with these files and compiler flags.
once() {
    mark=$work/done/$1
    # shellcheck disable=SC2086
    text=$({ echo "$flags $hardening" && cat -- $2; } | sha256sum)
    shift 2
    [ -e "$mark" ] && [ "$(cat "$mark")" = "$text" ] && return
    "$@"
    mkdir -p "$work/done"
    echo "$text" >"$mark"
}

# The source package, by apt, from the mirror that this machine has already; its own lists, which are
# good whatever their age while they are signed: mirrors may stand still.
fetch_cpython() {
    say "getting $PACKAGE $VERSION"
    folder=$work/source
    rm -rf "$folder"
    mkdir -p "$folder/lists/partial"
    sources >"$folder/sources.list"
    set -- -qq -o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache" -o APT::Sandbox::User=root \
        -o Acquire::Check-Valid-Until=false
    (
        cd "$folder"
        apt-get "$@" update
        if ! apt-get "$@" source --download-only "$PACKAGE=$VERSION"; then
            say "$PACKAGE $VERSION is not there; there is:"
            apt-cache "$@" showsrc "$PACKAGE" | sed -n 's/^Version: /  /p' >&2
            say "write the version and the digest of its .dsc into binary/cpython"
            exit 1
        fi
        dsc=${PACKAGE}_${VERSION#*:}.dsc
        echo "$DSC_SHA256  $dsc" | sha256sum --check --quiet
        # Checks the digests that the .dsc names, and applies Debian's patches.
        dpkg-source -x "$dsc" cpython >dpkg-source.log 2>&1
        # Code that counts how often it runs is written to: pages that a short process would copy.
        sed -i 's/^#define ENABLE_SPECIALIZATION 1$/#define ENABLE_SPECIALIZATION 0/' \
            cpython/Include/internal/pycore_code.h
    )
}

# deb-src lines for $SUITE, from where this machine gets its Debian.
sources() {
    key=/usr/share/keyrings/debian-archive-keyring.gpg
    mirror=$("$repository/tools/mirror.sh")
    # shellcheck disable=SC2153
    for suite in "$SUITE" "$SUITE-updates"; do
        echo "deb-src [signed-by=$key] $mirror $suite main"
    done
    echo "deb-src [signed-by=$key] ${mirror%/debian/}/debian-security $SUITE-security main"
}

fetch_libraries() {
    say "getting the libraries"
    rm -rf "$work/tools" "$work/site" "$work/sdist"
    python=$work/tools/bin/python
    /usr/bin/python3 -m venv "$work/tools"
    pip="$python -m pip --quiet --disable-pip-version-check --no-input"
    $pip install --no-deps --require-hashes -r "$repository/binary/tools.txt"
    $pip install --no-deps --require-hashes --no-compile --target "$work/site" \
        --only-binary :all: -r "$repository/binary/requirements.txt"
    $pip download --no-deps --require-hashes --no-build-isolation --no-binary :all: \
        --dest "$work/sdist" -r "$repository/binary/sources.txt"
    for archive in "$work"/sdist/*.tar.gz; do
        tar -xzf "$archive" -C "$work/sdist" --no-same-owner
        rm "$archive"
    done
    cp -r "$work"/sdist/pyyaml-*/lib/yaml "$work"/sdist/python*prctl-*/prctl.py "$work/site/"
    (cd "$work"/sdist/pyyaml-*/ && "$work/tools/bin/cython" -3 -I . yaml/_yaml.pyx -o "$work/sdist/_yaml.c")
}

# One build of CPython in FOLDER, with the arguments for configure.
configure() {
    folder=$1
    shift
    rm -rf "$folder"
    mkdir -p "$folder/Modules"
    cp "$repository/binary/Setup.local" "$folder/Modules/"
    (
        cd "$folder"
        # By a relative path, which is what gets into the file.
        ../source/cpython/configure --disable-shared --disable-test-modules --without-ensurepip \
            --without-doc-strings "$@" >configure.log 2>&1 ||
            { tail -n 5 configure.log >&2; exit 1; }
    )
}

# Debian's static libraries for another processor, of this machine's release.
fetch_foreign() {
    say "getting $linked for $arch"
    # shellcheck disable=SC1091,SC2086
    (. /etc/os-release && SUITE=$VERSION_CODENAME ARCH=$arch "$repository/tools/backports.sh" \
        "$foreign" "usr/lib/$triplet/libyaml.a" $linked) >/dev/null
}

# The interpreter of this machine, which freezes modules; never part of the file.
build_host() {
    say "building the interpreter that freezes, for this machine"
    configure "$work/host" OPT="-O1 -DNDEBUG" LDFLAGS=-static
    make -C "$work/host" -s -j "$jobs" python >"$work/host/make.log" 2>&1 ||
        { tail -n 20 "$work/host/make.log" >&2; exit 1; }
}

# CPython for the target, one object file. Without mimalloc, which only free threading uses: it writes
# to memory of its own before main().
build_target() {
    say "building CPython for $arch"
    configure "$cpython" --build="$(dpkg-architecture -qDEB_BUILD_GNU_TYPE)" \
        --host="$triplet" --with-build-python="$work/host/python" \
        ac_cv_file__dev_ptmx=yes ac_cv_file__dev_ptc=no ac_cv_buggy_getaddrinfo=no \
        CC="$triplet-gcc" AR="$triplet-ar" RANLIB="$triplet-ranlib" ARFLAGS=rcD \
        --without-mimalloc CPPFLAGS="$libraries" OPT="-DNDEBUG $flags $hardening" LDFLAGS="$link"
    freeze="$work/host/python $work/source/cpython/Programs/_freeze_module.py"
    mkdir -p "$cpython/Python/frozen_modules"
    $freeze getpath "$repository/binary/getpath.py" "$cpython/Python/frozen_modules/getpath.h"
    make -C "$cpython" -s -j "$jobs" FREEZE_MODULE="$freeze" FREEZE_MODULE_DEPS= \
        FREEZE_MODULE_BOOTSTRAP="$freeze" FREEZE_MODULE_BOOTSTRAP_DEPS= libpython3.13.a \
        >"$cpython/make.log" 2>&1 || { tail -n 20 "$cpython/make.log" >&2; exit 1; }
    "$triplet-gcc" -r -no-pie -nostdlib -o "$target/whole.o" \
        -Wl,--whole-archive "$cpython/libpython3.13.a"
}

# Compiles one of the C files; the first argument names the object.
compile() {
    object=$target/$1
    shift
    # shellcheck disable=SC2086
    "$triplet-gcc" -c $flags $hardening -o "$object" "$@"
}

# The libraries' parts in C. Not ours, so warnings are theirs.
build_libraries() {
    say "compiling the libraries' C"
    python="$libraries -I$work/source/cpython/Include -I$cpython"
    # shellcheck disable=SC2086
    compile yaml.o $python -I"$(echo "$work"/sdist/pyyaml-*/yaml)" "$work/sdist/_yaml.c"
    # shellcheck disable=SC2086
    compile prctl.o $python "$work"/sdist/python*prctl-*/_prctlmodule.c
}

freeze() {
    say "freezing"
    rm -rf "$work/stage"
    mkdir -p "$work/stage"
    cp -r "$work/site/." "$work/stage/"
    cp -r "$repository/binary/stubs/." "$work/stage/"
    # Of a message that nobody sends here; OpenSSL would be larger than all the rest.
    sed -i '/^import ssl$/d' "$work/stage/pyroute2/netlink/rtnl/probe_msg.py"
    "$work/host/python" -I -X frozen_modules=on "$repository/binary/freeze.py" \
        "$repository" "$work/stage" "$work/source/cpython/Lib" "$work/frozen"
    "$work/host/python" -I -S "$repository/binary/check.py" "$repository" "$work/frozen"
    PYTHONPATH=$repository "$work/host/python" -S "$repository/binary/tables.py" \
        >"$work/frozen/tables.c"
}

# Our own C, and one file of all.
link() {
    ours="-std=c11 -Wall -Wextra -Werror -I$repository/binary -I$work/frozen"
    python="-isystem $work/source/cpython/Include -isystem $cpython"
    for name in main command module core memory; do
        # shellcheck disable=SC2086
        compile $name.o -D_GNU_SOURCE $ours $python "$repository/binary/$name.c"
    done
    for name in frozen tables; do
        # shellcheck disable=SC2086
        compile $name.o $ours "$work/frozen/$name.c"
    done
    compile bytes.o -Wa,-I"$work/frozen" "$repository/binary/frozen.S"
    set --
    for name in malloc calloc realloc free; do
        set -- "$@" --redefine-sym $name=core_$name
    done
    "$triplet-objcopy" "$@" "$target/whole.o" "$target/cpython.o"
    {
        echo 'SECTIONS { .text.hot : {'
        sed 's/.*/cpython.o(.text.& .text.&.*)/' "$repository/binary/hot"
        echo '} } INSERT BEFORE .text;'
    } >"$target/hot.ld"
    # The linker says of each look-up of a user or host that glibc may load a library for it.
    # shellcheck disable=SC2086
    (cd "$target" && "$triplet-gcc" $flags $link -o empty main.o command.o core.o memory.o module.o \
        frozen.o tables.o bytes.o yaml.o prctl.o cpython.o $libraries -lyaml -lcap -lz -lm \
        -Wl,-T,"$repository/binary/kept.ld" -Wl,-T,hot.ld) >"$target/link.log" 2>&1 ||
        { tail -n 20 "$target/link.log" >&2; exit 1; }
}

# Start the interpreter once, and put the memory it has then into the file.
keep() {
    # Freed memory has addresses in it: where it may not fix them, the bytes differ, no more.
    fixed="setarch $(uname -m) -R"
    $fixed true 2>/dev/null || fixed=
    # shellcheck disable=SC2086
    (cd "$target" && env -i $fixed $emulator ./empty kept)
    "$triplet-objcopy" --update-section .kept="$target/kept" "$target/empty" "$target/pyshim"
    "$triplet-strip" "$target/pyshim"
}

mkdir -p "$target" "$work/frozen"
once source "$repository/binary/cpython" fetch_cpython
once libraries "$repository/binary/requirements.txt $repository/binary/sources.txt $repository/binary/tools.txt" fetch_libraries
once host "$repository/binary/cpython $repository/binary/Setup.local" build_host
[ -z "$foreign" ] || once "foreign-$arch" "$repository/tools/binary.sh" fetch_foreign
once "$arch" "$repository/binary/cpython $repository/binary/Setup.local $repository/binary/getpath.py" build_target
once "libraries-$arch" "$repository/binary/sources.txt $repository/binary/cpython" build_libraries
freeze
link
keep
cp "$target/pyshim" "$file"
libgcc=$(dpkg -S "$("$triplet-gcc" -print-libgcc-file-name)" | cut -d: -f1)
# shellcheck disable=SC2086
/usr/bin/python3 "$repository/binary/inventory.py" "$file" "$repository" "$work" "$work/site" \
    "$foreign" "$libc" "$libgcc" $linked
say "$(sha256sum "$file")"
