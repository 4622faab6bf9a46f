"""The fields of config.json as Go knows them: what each struct of the runtime-spec holds.

By struct, each field's shape: the name of a struct, "" for a scalar; before it "?" for a pointer,
"[" for a slice, "{" for a map from strings. What only other systems than Linux read is left out.
Source: specs-go of runtime-spec 1.3.0; `make test-reading` compares them.
"""

from __future__ import annotations

# fmt: off
STRUCTS: dict[str, dict[str, str]] = {
    "Spec": {
        "annotations": "{", "domainname": "", "hooks": "?Hooks", "hostname": "", "linux": "?Linux",
        "mounts": "[Mount", "ociVersion": "", "process": "?Process", "root": "?Root",
    },
    "Box": {"height": "", "width": ""},
    "CPUAffinity": {"final": "", "initial": ""},
    "Hook": {"args": "[", "env": "[", "path": "", "timeout": "?"},
    "Hooks": {
        "createContainer": "[Hook", "createRuntime": "[Hook", "poststart": "[Hook", "poststop":
        "[Hook", "prestart": "[Hook", "startContainer": "[Hook",
    },
    "Linux": {
        "cgroupsPath": "", "devices": "[LinuxDevice", "gidMappings": "[LinuxIDMapping", "intelRdt":
        "?LinuxIntelRdt", "maskedPaths": "[", "memoryPolicy": "?LinuxMemoryPolicy", "mountLabel":
        "", "namespaces": "[LinuxNamespace", "netDevices": "{LinuxNetDevice", "personality":
        "?LinuxPersonality", "readonlyPaths": "[", "resources": "?LinuxResources",
        "rootfsPropagation": "", "seccomp": "?LinuxSeccomp", "sysctl": "{", "timeOffsets":
        "{LinuxTimeOffset", "uidMappings": "[LinuxIDMapping",
    },
    "LinuxBlockIO": {
        "leafWeight": "?", "throttleReadBpsDevice": "[LinuxThrottleDevice",
        "throttleReadIOPSDevice": "[LinuxThrottleDevice", "throttleWriteBpsDevice":
        "[LinuxThrottleDevice", "throttleWriteIOPSDevice": "[LinuxThrottleDevice", "weight": "?",
        "weightDevice": "[LinuxWeightDevice",
    },
    "LinuxCPU": {
        "burst": "?", "cpus": "", "idle": "?", "mems": "", "period": "?", "quota": "?",
        "realtimePeriod": "?", "realtimeRuntime": "?", "shares": "?",
    },
    "LinuxCapabilities": {
        "ambient": "[", "bounding": "[", "effective": "[", "inheritable": "[", "permitted": "[",
    },
    "LinuxDevice": {
        "fileMode": "?", "gid": "?", "major": "", "minor": "", "path": "", "type": "", "uid": "?",
    },
    "LinuxDeviceCgroup": {"access": "", "allow": "", "major": "?", "minor": "?", "type": ""},
    "LinuxHugepageLimit": {"limit": "", "pageSize": ""},
    "LinuxIDMapping": {"containerID": "", "hostID": "", "size": ""},
    "LinuxIOPriority": {"class": "", "priority": ""},
    "LinuxIntelRdt": {
        "closID": "", "enableMonitoring": "", "l3CacheSchema": "", "memBwSchema": "", "schemata":
        "[",
    },
    "LinuxInterfacePriority": {"name": "", "priority": ""},
    "LinuxMemory": {
        "checkBeforeUpdate": "?", "disableOOMKiller": "?", "kernel": "?", "kernelTCP": "?", "limit":
        "?", "reservation": "?", "swap": "?", "swappiness": "?", "useHierarchy": "?",
    },
    "LinuxMemoryPolicy": {"flags": "[", "mode": "", "nodes": ""},
    "LinuxNamespace": {"path": "", "type": ""},
    "LinuxNetDevice": {"name": ""},
    "LinuxNetwork": {"classID": "?", "priorities": "[LinuxInterfacePriority"},
    "LinuxPersonality": {"domain": "", "flags": "["},
    "LinuxPids": {"limit": "?"},
    "LinuxRdma": {"hcaHandles": "?", "hcaObjects": "?"},
    "LinuxResources": {
        "blockIO": "?LinuxBlockIO", "cpu": "?LinuxCPU", "devices": "[LinuxDeviceCgroup",
        "hugepageLimits": "[LinuxHugepageLimit", "memory": "?LinuxMemory", "network":
        "?LinuxNetwork", "pids": "?LinuxPids", "rdma": "{LinuxRdma", "unified": "{",
    },
    "LinuxSeccomp": {
        "architectures": "[", "defaultAction": "", "defaultErrnoRet": "?", "flags": "[",
        "listenerMetadata": "", "listenerPath": "", "syscalls": "[LinuxSyscall",
    },
    "LinuxSeccompArg": {"index": "", "op": "", "value": "", "valueTwo": ""},
    "LinuxSyscall": {"action": "", "args": "[LinuxSeccompArg", "errnoRet": "?", "names": "["},
    "LinuxThrottleDevice": {"major": "", "minor": "", "rate": ""},
    "LinuxTimeOffset": {"nanosecs": "", "secs": ""},
    "LinuxWeightDevice": {"leafWeight": "?", "major": "", "minor": "", "weight": "?"},
    "Mount": {
        "destination": "", "gidMappings": "[LinuxIDMapping", "options": "[", "source": "", "type":
        "", "uidMappings": "[LinuxIDMapping",
    },
    "POSIXRlimit": {"hard": "", "soft": "", "type": ""},
    "Process": {
        "apparmorProfile": "", "args": "[", "capabilities": "?LinuxCapabilities", "commandLine": "",
        "consoleSize": "?Box", "cwd": "", "env": "[", "execCPUAffinity": "?CPUAffinity",
        "ioPriority": "?LinuxIOPriority", "noNewPrivileges": "", "oomScoreAdj": "?", "rlimits":
        "[POSIXRlimit", "scheduler": "?Scheduler", "selinuxLabel": "", "terminal": "", "user":
        "User",
    },
    "Root": {"path": "", "readonly": ""},
    "Scheduler": {
        "deadline": "", "flags": "[", "nice": "", "period": "", "policy": "", "priority": "",
        "runtime": "",
    },
    "User": {"additionalGids": "[", "gid": "", "uid": "", "umask": "?", "username": ""},
}
# fmt: on

NAMES = frozenset[str]().union(*STRUCTS.values())
"""Every field's name. No two differ in case alone."""
FOLDED = frozenset(map(str.lower, NAMES))
"""The same as jsonio.fold() has them."""
