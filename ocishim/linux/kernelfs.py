"""File systems in which a file is not data but the kernel, or a process, answering.

Nothing is read from one for a container's benefit: root's keyrings, the host's mount table and
unread kernel messages are "regular files" there. Told by f_type (statfs(2)), which no image can
choose. Sources: include/uapi/linux/magic.h of Linux 6.18 unless a line says otherwise.
"""

from __future__ import annotations

NAMES = {
    0x9FA0: "proc",
    0x62656572: "sysfs",
    0x27E0EB: "cgroup",
    0x63677270: "cgroup2",
    0x64626720: "debugfs",
    0x74726163: "tracefs",
    0x73636673: "securityfs",
    0xCAFE4A11: "bpf",
    0x6165676C: "pstore",
    0x62656570: "configfs",  # fs/configfs/mount.c
    0xDE5E81E4: "efivarfs",
    0x42494E4D: "binfmt_misc",
    0xF97CFF8C: "selinuxfs",
    0x43415D53: "smackfs",
    0x5A3C69F0: "apparmorfs",
    0x19800202: "mqueue",
    0x1CD1: "devpts",
    0x6E736673: "nsfs",
    0x50494446: "pidfs",
    0x50495045: "pipefs",
    0x534F434B: "sockfs",
    0x09041934: "anon_inode",
    0x62646576: "bdevfs",
    0x7655821: "resctrl",
    0xABBA1974: "xenfs",
    0x65735543: "fusectl",  # fs/fuse/control.c
    0x6E667364: "nfsd",  # fs/nfsd/nfsctl.c
    0x67596969: "rpc_pipefs",  # net/sunrpc/rpc_pipe.c
    0x9FA2: "usbdevice",
    0x9FA1: "openprom",
    0x64646178: "daxfs",
    0x444D4142: "dma_buf",
    0x454D444D: "devmem",
    0x5345434D: "secretmem",
    0x474D454D: "guest_memfd",
    0x11307854: "mtd",
    0xBAD1DEA: "futexfs",
    0x187: "autofs",
    0x6C6F6F70: "binder",
    0x0A647361: "functionfs",  # drivers/usb/gadget/function/f_fs.c
    0xAEE71EE7: "gadgetfs",  # drivers/usb/gadget/legacy/inode.c
    0x23C9B64E: "spufs",  # arch/powerpc/platforms/cell/spufs/inode.c
}
"""f_type -> the file system's name."""


def name(f_type: int) -> str:
    """Return the name of a kernel file system, "" for one that holds files."""
    return NAMES.get(f_type, "")
