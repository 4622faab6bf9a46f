#!/bin/sh
# Runs shell commands in the repository on the machine that tools/arm64.sh has built: real Linux for
# arm64 on an emulated processor, about 30 times slower than this one.
#
#   tools/arm64/boot.sh FOLDER COMMANDS [FILE]
#
# The repository is the working tree without what git ignores; the static file FILE is build/bin/pyshim in
# it. No network, no disk of this machine's: all is in memory and gone afterwards. Prints the console; exit
# status: the commands'.
set -eu

folder=$(cd "$1" && pwd)
commands=$2
file=${3:+$(realpath "$3")}
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir "$work/second"
tools/files.sh | tar --null -T - -cf "$work/second/repository.tar"
[ -z "$file" ] || tar -rPf "$work/second/repository.tar" --transform 's,.*,build/bin/pyshim,' "$file"
printf '%s\n' "$commands" >"$work/second/command.sh"
# The kernel unpacks one archive after another.
(cd "$work/second" && printf 'command.sh\nrepository.tar\n' | cpio -o -H newc --quiet) |
    cat "$folder/initrd" - >"$work/initrd"
qemu-system-aarch64 -M virt -cpu cortex-a72 -accel tcg,thread=multi -smp 2 -m 4G -net none \
    -kernel "$folder/vmlinuz" -initrd "$work/initrd" -nographic -no-reboot \
    -append 'console=ttyAMA0 quiet panic=-1' </dev/null | tee "$work/console"
status=$(tr -d '\r' <"$work/console" | sed -n 's/^arm64: exit status //p')
exit "${status:-1}"
