#!/bin/sh
# A node to try the documentation on: this machine's /usr, and everything else new and private.
#
#   sh docnode.sh ROOT COMMANDS GROUP
#
# Runs the shell script COMMANDS in the node, whose files are made below ROOT. In mount, PID and
# cgroup namespaces of its own: what it mounts and starts is gone when it ends, and the control
# groups it makes lie below GROUP, which is there in every hierarchy.
set -eu

# Puts this shell into the group $1 of every hierarchy.
enter() {
    for folder in "/sys/fs/cgroup/$1" /sys/fs/cgroup/*/"$1"; do
        [ ! -e "$folder/cgroup.procs" ] || echo $$ >"$folder/cgroup.procs"
    done
}

case $1 in
node)
    shift
    ;;
inner)
    # cgroup v2 hands controllers down only where they are switched on and no process stands.
    if [ -e /sys/fs/cgroup/cgroup.procs ]; then
        mkdir "/sys/fs/cgroup/$4/init"
        enter "$4/init"
        for folder in /sys/fs/cgroup "/sys/fs/cgroup/$4"; do
            sed 's/^/+/; s/ / +/g' "$folder/cgroup.controllers" >"$folder/cgroup.subtree_control"
        done
    fi
    shift
    exec unshare -m -p -f --kill-child sh "$0" node "$@"
    ;;
*)
    enter "$3"
    exec unshare -C sh "$0" inner "$@"
    ;;
esac

root=$1
commands=$2
repository=$(pwd)

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir usr etc proc sys dev run tmp root var var/lib var/log var/tmp etc/containerd
cp "$commands" .commands
chmod 1777 tmp var/tmp
mount --rbind /usr usr
mount -t tmpfs -o mode=755 tmpfs usr/local
mkdir usr/local/sbin usr/local/bin
mount --rbind /sys sys
umount -R sys/fs/cgroup
if [ -e /sys/fs/cgroup/cgroup.procs ]; then
    mount -t cgroup2 none sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 none sys/fs/cgroup
fi
for hierarchy in /sys/fs/cgroup/*/; do
    name=$(basename "$hierarchy")
    if [ -e /sys/fs/cgroup/cgroup.procs ] || [ ! -e "$hierarchy/cgroup.procs" ]; then
        continue
    elif [ -L "/sys/fs/cgroup/$name" ]; then # cpu -> cpu,cpuacct
        cp -P "/sys/fs/cgroup/$name" sys/fs/cgroup/
        continue
    fi
    mkdir "sys/fs/cgroup/$name"
    case $name in
    unified) mount -t cgroup2 none sys/fs/cgroup/unified ;;
    systemd) mount -t cgroup -o none,name=systemd none sys/fs/cgroup/systemd ;;
    *) mount -t cgroup -o "$name" none "sys/fs/cgroup/$name" ;;
    esac
done
mount --rbind /dev dev
mkdir -p ".$repository"
mount --bind "$repository" ".$repository"
mount -t proc proc proc
for name in bin sbin lib lib64 lib32; do
    [ ! -L "/$name" ] || cp -P "/$name" .
done
cp -P /etc/alternatives etc/ -r
cp /etc/passwd /etc/group /etc/ld.so.cache etc/
cp -r /etc/containers etc/ 2>/dev/null || true
rm -rf etc/containers/containers.conf.d

# Debian's file.
cat >etc/containerd/config.toml <<'EOF'
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
EOF

# What a machine without systemd, overlay or the right to raise limits needs to run Podman.
mkdir -p etc/containers
cat >etc/containers/storage.conf <<'EOF'
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
EOF
cat >etc/containers/containers.conf <<'EOF'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
EOF

# Stands in for systemd: starts the engine in the background, and ends the one before.
cat >usr/local/sbin/systemctl <<'EOF'
#!/bin/sh
unit=$2
case $unit in
containerd) set -- containerd ;;
docker)
    set -- dockerd --storage-driver=vfs --bridge=none --iptables=false --ip6tables=false \
        --ip-forward=false --ip-masq=false
    ready='docker version'
    ;;
crio) exit 0 ;; # not in Debian
esac
[ ! -e "/run/$unit.pid" ] || kill "$(cat "/run/$unit.pid")"
while [ -e "/run/$unit.pid" ] && kill -0 "$(cat "/run/$unit.pid")" 2>/dev/null; do sleep 0.1; done
"$@" >"/var/log/$unit.log" 2>&1 &
echo $! >"/run/$unit.pid"
for _ in $(seq 300); do
    ${ready:-ctr version} >/dev/null 2>&1 && exit 0
    sleep 0.1
done
tail -5 "/var/log/$unit.log" >&2
exit 1
EOF
chmod +x usr/local/sbin/systemctl

mkdir old
pivot_root . old
umount -l /old
rmdir /old
cd "$repository"
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    LC_ALL=C.UTF-8 PODMAN_IGNORE_CGROUPSV1_WARNING=yes bash /.commands
