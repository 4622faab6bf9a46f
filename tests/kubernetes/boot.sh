#!/bin/sh
# Becomes process 1 of a node: namespaces are made already, unshare(1) calls this.
#
#   boot.sh BARE FOLDER TOOLS
#
# BARE: a bare Debian (tools/debootstrap.sh); FOLDER: an empty one for the node's root; TOOLS: becomes
# /srv/lab. All that the node writes is on a tmpfs, and gone with it. Of the machine's it has control
# groups; what the kubelet wants of /proc/sys is there as files of the node's own.
set -eu

mount -t tmpfs -o mode=755 node "$2"
mkdir "$2/upper" "$2/work" "$2/root" "$2/state"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" node "$2/root"
cd "$2/root"
mount -t proc proc proc
mkdir -p srv/lab srv/proc srv/sysctl opt/cni/bin usr/lib/cni
mount -t proc proc srv/proc # who is root of own users may mount one only where another is whole
for pair in vm/overcommit_memory:1 vm/panic_on_oom:0 kernel/panic:10 kernel/panic_on_oops:1 \
    kernel/keys/root_maxkeys:1000000 kernel/keys/root_maxbytes:25000000; do
    name=${pair%:*}
    file=srv/sysctl/$(basename "$name")
    echo "${pair##*:}" >"$file"
    [ ! -e "proc/sys/$name" ] || mount --bind "$file" "proc/sys/$name"
done
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs -o mode=755 dev dev
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 kmsg:1:11 tty:5:0; do
    IFS=: read -r name major minor <<EOF
$node
EOF
    mknod -m 666 "dev/$name" c "$major" "$minor"
done
mkdir dev/pts dev/shm dev/mqueue run/lab .host
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t mqueue mqueue dev/mqueue
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount --bind "$2/state" var/lib # no overlay's layer can lie on an overlay
mount --bind "$3" srv/lab
mount --bind /usr/lib/cni usr/lib/cni
mount --bind /usr/lib/cni opt/cni/bin
cp "$3/systemctl" usr/bin/systemctl
echo "127.0.0.1 localhost" >etc/hosts
rm -f etc/resolv.conf # the machine's is not reached from there
: >etc/resolv.conf
ip link set lo up
ip link add node0 type bridge
ip address add 10.80.0.1/24 dev node0
ip link set node0 up
ip route add default dev node0 # the kubelet looks for one
echo 1 >/proc/sys/net/ipv4/ip_forward
hostname node
pivot_root . .host
mount --make-rshared /
umount -l .host
rmdir .host
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /srv/lab/pause
