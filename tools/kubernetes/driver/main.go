// A driver of devices that do nothing, for the tests of a cluster: a device plugin with either way of
// naming CDI devices to the kubelet, or a driver of dynamic resource allocation.
//
//	driver annotations|cri RESOURCE KIND DEVICE...
//	driver dra NAME KUBECONFIG NODE DRIVER-ROOT DEVICE...
package main

import (
	"context"
	"fmt"
	"os"
)

func main() {
	arguments := os.Args[1:]
	run := plugin
	if len(arguments) > 0 && arguments[0] == "dra" {
		run = dra
	}
	if len(arguments) < 4 {
		fmt.Fprintln(os.Stderr, "usage: driver annotations|cri RESOURCE KIND DEVICE...")
		os.Exit(2)
	}
	if err := run(context.Background(), arguments); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
