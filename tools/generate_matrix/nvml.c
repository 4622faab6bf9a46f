/* A stand-in for libnvidia-ml.so.1: one GPU without MIG. What is not here answers NOT_SUPPORTED by
   not being called: nvidia-ctk asks for little. Names and numbers are nvml.h's. */
#include <stdio.h>
#include <string.h>

typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } pci;

#define OK(NAME, ...) int NAME(__VA_ARGS__)
static int gpu;

OK(nvmlInit, void) { return 0; }
OK(nvmlInit_v2, void) { return 0; }
OK(nvmlInitWithFlags, unsigned flags) { (void)flags; return 0; }
OK(nvmlShutdown, void) { return 0; }
const char *nvmlErrorString(int code) { return code ? "not supported" : "success"; }
OK(nvmlSystemGetDriverVersion, char *text, unsigned size) { snprintf(text, size, "%s", VERSION); return 0; }
OK(nvmlSystemGetCudaDriverVersion, int *version) { *version = 12040; return 0; }
OK(nvmlSystemGetCudaDriverVersion_v2, int *version) { *version = 12040; return 0; }
OK(nvmlDeviceGetCount, unsigned *count) { *count = 1; return 0; }
OK(nvmlDeviceGetCount_v2, unsigned *count) { *count = 1; return 0; }
OK(nvmlDeviceGetHandleByIndex, unsigned index, void **handle) { *handle = &gpu; return index ? 2 : 0; }
OK(nvmlDeviceGetHandleByIndex_v2, unsigned index, void **handle) { *handle = &gpu; return index ? 2 : 0; }
OK(nvmlDeviceGetHandleByUUID, const char *uuid, void **handle) { (void)uuid; *handle = &gpu; return 0; }
OK(nvmlDeviceGetHandleByPciBusId_v2, const char *bus, void **handle) { (void)bus; *handle = &gpu; return 0; }
OK(nvmlDeviceGetIndex, void *handle, unsigned *index) { (void)handle; *index = 0; return 0; }
OK(nvmlDeviceGetUUID, void *handle, char *text, unsigned size) {
    (void)handle; snprintf(text, size, "%s", UUID); return 0;
}
OK(nvmlDeviceGetName, void *handle, char *text, unsigned size) {
    (void)handle; snprintf(text, size, "A stand-in"); return 0;
}
OK(nvmlDeviceGetMinorNumber, void *handle, unsigned *minor) { (void)handle; *minor = 0; return 0; }
OK(nvmlDeviceGetBrand, void *handle, int *brand) { (void)handle; *brand = 2; return 0; }
OK(nvmlDeviceGetArchitecture, void *handle, unsigned *arch) { (void)handle; *arch = 7; return 0; }
OK(nvmlDeviceGetCudaComputeCapability, void *handle, int *major, int *minor) {
    (void)handle; *major = 8; *minor = 0; return 0;
}
static int fill(pci *info) {
    memset(info, 0, sizeof *info);
    info->bus = 1;
    strcpy(info->legacy, "0000:01:00.0");
    strcpy(info->bus_id, "00000000:01:00.0");
    return 0;
}
OK(nvmlDeviceGetPciInfo, void *handle, pci *info) { (void)handle; return fill(info); }
OK(nvmlDeviceGetPciInfo_v2, void *handle, pci *info) { (void)handle; return fill(info); }
OK(nvmlDeviceGetPciInfo_v3, void *handle, pci *info) { (void)handle; return fill(info); }
OK(nvmlDeviceGetMigMode, void *handle, unsigned *now, unsigned *then) {
    (void)handle; *now = *then = 0; return 3;
}
OK(nvmlDeviceGetMaxMigDeviceCount, void *handle, unsigned *count) { (void)handle; *count = 0; return 0; }
OK(nvmlDeviceIsMigDeviceHandle, void *handle, unsigned *is) { (void)handle; *is = 0; return 0; }
OK(nvmlDeviceGetAddressingMode, void *handle, void *mode) { (void)handle; (void)mode; return 3; }
OK(nvmlDeviceGetGpuFabricInfo, void *handle, void *info) { (void)handle; (void)info; return 3; }
