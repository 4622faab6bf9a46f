#!/bin/sh
# Builds what a cluster of one node is made of into a folder: kube-apiserver, kube-controller-manager,
# kube-scheduler, kubelet, kubectl and the tests' driver of devices. Ten minutes on two quiet cores.
#
#   tools/kubernetes.sh FOLDER
#
# Versions and checksums: tools/kubernetes/go.mod and go.sum. Go is what tools/go.sh finds or gets. What
# was built of the same sources stays. What Go gets and builds is removed.
set -eu

mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")"

exec 9>"$folder/lock"
flock 9
sources=$(cat kubernetes/go.mod kubernetes/go.sum kubernetes/driver/*.go | sha256sum)
[ "$(cat "$folder/version" 2>/dev/null)" != "$sources" ] || exit 0
go=$(./go.sh "$folder")
# The newest that is asked for is the tests' Kubernetes; staging modules are replaced by its own.
version=$(sed -n 's/^\tk8s.io\/kubernetes //p' kubernetes/go.mod)
names=k8s.io/component-base/version
minor=${version#v1.}
# Two at a time fit small machines.
export GOTOOLCHAIN=auto CGO_ENABLED=0 GOFLAGS="-modcacherw -trimpath -buildvcs=false -p=2"
export GOPATH="$folder/gopath" GOCACHE="$folder/cache"
echo "kubernetes: building $version with $go, ten minutes and more" >&2
cd kubernetes
nice -n 10 "$go" build -tags providerless -o "$folder/" \
    -ldflags "-s -w -X $names.gitVersion=$version -X $names.gitMajor=1 -X $names.gitMinor=${minor%%.*}" \
    tool ./driver
rm -rf "$folder/gopath" "$folder/cache" "$folder/go"
echo "$sources" >"$folder/version"
