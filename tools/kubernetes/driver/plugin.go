package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// devicePlugin answers for devices whose names are those of the CDI kind.
type devicePlugin struct {
	api.UnimplementedDevicePluginServer
	strategy, kind string
	devices        []string
}

// plugin serves a resource until the kubelet, which removes the socket when it starts, has gone.
func plugin(ctx context.Context, arguments []string) error {
	strategy, resource := arguments[0], arguments[1]
	one := &devicePlugin{strategy: strategy, kind: arguments[2], devices: arguments[3:]}
	socket := api.DevicePluginPath + strings.ReplaceAll(resource, "/", "_") + ".sock"
	for {
		os.Remove(socket)
		listener, err := net.Listen("unix", socket)
		if err != nil {
			return err
		}
		server := grpc.NewServer()
		api.RegisterDevicePluginServer(server, one)
		go server.Serve(listener)
		if err := register(ctx, resource, socket); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		for err == nil {
			time.Sleep(200 * time.Millisecond)
			_, err = os.Stat(socket)
		}
		server.Stop()
	}
}

func register(ctx context.Context, resource, socket string) error {
	kubelet, err := grpc.NewClient("unix://"+api.KubeletSocket,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer kubelet.Close()
	_, err = api.NewRegistrationClient(kubelet).Register(ctx, &api.RegisterRequest{
		Version:      api.Version,
		Endpoint:     strings.TrimPrefix(socket, api.DevicePluginPath),
		ResourceName: resource,
	}, grpc.WaitForReady(true))
	return err
}

func (p *devicePlugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

func (p *devicePlugin) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	var list []*api.Device
	for _, name := range p.devices {
		list = append(list, &api.Device{ID: name, Health: api.Healthy})
	}
	if err := stream.Send(&api.ListAndWatchResponse{Devices: list}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func (p *devicePlugin) Allocate(_ context.Context, asked *api.AllocateRequest) (*api.AllocateResponse, error) {
	answer := &api.AllocateResponse{}
	for _, request := range asked.ContainerRequests {
		one := &api.ContainerAllocateResponse{}
		var names []string
		for _, id := range request.DevicesIds {
			name := p.kind + "=" + id
			names = append(names, name)
			if p.strategy == "cri" {
				one.CdiDevices = append(one.CdiDevices, &api.CDIDevice{Name: name})
			}
		}
		if p.strategy == "annotations" {
			one.Annotations = map[string]string{"cdi.k8s.io/pyshim-test": strings.Join(names, ",")}
		}
		answer.ContainerResponses = append(answer.ContainerResponses, one)
	}
	return answer, nil
}
