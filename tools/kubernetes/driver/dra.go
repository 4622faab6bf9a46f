package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	resource "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/dynamic-resource-allocation/resourceslice"
)

const specFolder = "/var/run/cdi"

// claimDriver writes a CDI spec for each claim: a node, a library and the hooks that make it be found.
type claimDriver struct{ name, driverRoot string }

func dra(ctx context.Context, arguments []string) error {
	name, node := arguments[1], arguments[3]
	config, err := clientcmd.BuildConfigFromFlags("", arguments[2])
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	folder := kubeletplugin.KubeletPluginsDir + "/" + name
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	helper, err := kubeletplugin.Start(ctx, &claimDriver{name, arguments[4]},
		kubeletplugin.DriverName(name), kubeletplugin.NodeName(node), kubeletplugin.KubeClient(client),
		kubeletplugin.PluginDataDirectoryPath(folder))
	if err != nil {
		return err
	}
	var devices []resource.Device
	for _, device := range arguments[5:] {
		devices = append(devices, resource.Device{Name: device})
	}
	pool := resourceslice.Pool{Slices: []resourceslice.Slice{{Devices: devices}}}
	err = helper.PublishResources(ctx,
		resourceslice.DriverResources{Pools: map[string]resourceslice.Pool{node: pool}})
	if err != nil {
		return err
	}
	select {}
}

func (d *claimDriver) PrepareResourceClaims(_ context.Context, claims []*resource.ResourceClaim) (map[types.UID]kubeletplugin.PrepareResult, error) {
	results := map[types.UID]kubeletplugin.PrepareResult{}
	for _, claim := range claims {
		var devices []kubeletplugin.Device
		for _, one := range claim.Status.Allocation.Devices.Results {
			devices = append(devices, kubeletplugin.Device{
				Requests:     []string{one.Request},
				PoolName:     one.Pool,
				DeviceName:   one.Device,
				CDIDeviceIDs: []string{d.name + "/claim=" + string(claim.UID)},
			})
		}
		results[claim.UID] = kubeletplugin.PrepareResult{Err: d.writeSpec(claim.UID), Devices: devices}
	}
	return results, nil
}

func (d *claimDriver) UnprepareResourceClaims(_ context.Context, claims []kubeletplugin.NamespacedObject) (map[types.UID]error, error) {
	results := map[types.UID]error{}
	for _, claim := range claims {
		os.Remove(d.specFile(claim.UID))
		results[claim.UID] = nil
	}
	return results, nil
}

func (d *claimDriver) HandleError(_ context.Context, err error, what string) {
	fmt.Fprintln(os.Stderr, what, err)
}

func (d *claimDriver) specFile(claim types.UID) string {
	return fmt.Sprintf("%s/%s-%s.json", specFolder, d.name, claim)
}

func (d *claimDriver) writeSpec(claim types.UID) error {
	type object map[string]any
	library := "/usr/lib/libpyshimclaim.so.1.0"
	hook := func(arguments ...string) object {
		return object{"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook",
			"args": append([]string{"nvidia-cdi-hook"}, arguments...)}
	}
	edits := object{
		"env":         []string{"PYSHIM_CLAIM=" + string(claim)},
		"deviceNodes": []object{{"path": "/dev/claimed", "hostPath": d.driverRoot + "/dev/nvidia0"}},
		"mounts": []object{{"hostPath": d.driverRoot + library, "containerPath": library,
			"options": []string{"ro", "nosuid", "nodev", "rbind", "rprivate"}}},
		"hooks": []object{
			hook("create-symlinks", "--link", "libpyshimclaim.so.1.0::/usr/lib/libpyshimclaim.so"),
			hook("update-ldcache", "--folder", "/usr/lib"),
		},
	}
	spec, err := json.Marshal(object{
		"cdiVersion": "0.6.0",
		"kind":       d.name + "/claim",
		"devices":    []object{{"name": string(claim), "containerEdits": edits}},
	})
	if err != nil {
		return err
	}
	file := d.specFile(claim)
	if err := os.WriteFile(file+".new", spec, 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
