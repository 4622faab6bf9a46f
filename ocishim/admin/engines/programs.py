"""Where an engine's programs are: the one finder, for configure and doctor alike."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ocishim.lowlevel.lowlevel import USUAL_DIRS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocishim.admin.host import Host

# Beside PATH, which lacks the sbin folders for an ordinary user and is ours, not the node's,
# where the node is mounted elsewhere: snap's commands, Flatcar's, containerd's own tarball's.
_FOLDERS = (*USUAL_DIRS, "/snap/bin", "/opt/bin", "/opt/local/bin", "/opt/containerd/bin")


def find(host: Host, names: Sequence[str]) -> str:
    """Return the path of the first of `names` (programs, or paths of such) on `host`; "": none."""
    search_path = "" if host.elsewhere else os.environ.get("PATH", "")
    folders = [one for one in search_path.split(":") if one.startswith("/")]
    for name in names:
        for folder in [""] if "/" in name else [*folders, *_FOLDERS]:
            path = os.path.join(folder, name)
            if host.is_program(path):
                return path
    return ""
