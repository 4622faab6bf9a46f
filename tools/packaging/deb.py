"""A Debian package, by dpkg-deb, whose one script reads: no engine or service is touched."""

from __future__ import annotations

import hashlib
import os
import subprocess
import textwrap
from email.utils import formatdate
from pathlib import Path

from tools.packaging.project import AUTHOR, EMAIL, EPOCH, SUMMARY, VERSION, description
from tools.packaging.tree import CONFIG, DOC, File, Tree, packed, write

_CONTROL = """\
Package: pyshim
Version: {version}
Architecture: {arch}
Maintainer: {maintainer}
Installed-Size: {size}
Recommends: runc | crun
Section: admin
Priority: optional
Description: {summary}
{description}
"""
_CHANGELOG = """\
pyshim ({version}) unstable; urgency=medium

  * See changelog.gz.

 -- {maintainer}  {date}
"""
_COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: pyshim

Files: *
Copyright: 2026 {author}
 and those that licenses.gz beside this names
License: {licence}
 What is in the file under which of these licences is listed in pyshim.spdx.json; the texts are in
 licenses.gz, both beside this. On Debian systems, the GPL is in /usr/share/common-licenses/GPL-3,
 the Apache License in /usr/share/common-licenses/Apache-2.0, the LGPL in
 /usr/share/common-licenses/LGPL-2.1.
"""
_PRERM = """\
#!/bin/sh
set -e
# What runs under pyshim could not be stopped without it.
[ "$1" != remove ] || /usr/bin/pyshimctl uninstall --dry-run --quiet --prefix /usr
"""
_OVERRIDES = """\
# One static file is the point: see docs/install.md. click names an editor, which nobody asks for.
# The PATH of whoever removes the package may lead to another pyshimctl first. No bug of Debian's
# asks for this package. LICENSE is what README.md and the documents beside it link to.
pyshim: command-with-path-in-maintainer-script *
pyshim: embedded-library *
pyshim: extra-license-file *
pyshim: initial-upload-closes-no-bugs *
pyshim: missing-depends-on-sensible-utils *
pyshim: statically-linked-binary
"""


def build(files: Tree, arch: str, licence: str, work: Path, out: Path) -> None:
    """Write pyshim_VERSION_ARCH.deb into `out`; `work` is a folder for what it is made of."""
    names = {
        "version": f"{VERSION}-1",
        "arch": arch,
        "author": AUTHOR,
        "maintainer": f"{AUTHOR} <{EMAIL}>",
        "date": formatdate(EPOCH),
        "licence": licence,
        "summary": SUMMARY,
        "description": textwrap.indent(
            textwrap.fill(description(), 78, break_on_hyphens=False), " "
        ),
        "size": sum(-(-len(file.data) // 1024) for file in files.values()),
    }
    data = {
        **files,
        f"{DOC}/changelog.Debian.gz": File(packed(_CHANGELOG.format(**names).encode())),
        f"{DOC}/copyright": File(_COPYRIGHT.format(**names).encode()),
        "usr/share/lintian/overrides/pyshim": File(_OVERRIDES.encode()),
    }
    sums = "".join(
        f"{hashlib.md5(file.data, usedforsecurity=False).hexdigest()}  {path}\n"
        for path, file in sorted(data.items())
        if file.mode and path != CONFIG
    )
    control = {
        "DEBIAN/control": File(_CONTROL.format(**names).encode()),
        "DEBIAN/conffiles": File(f"/{CONFIG}\n".encode()),
        "DEBIAN/md5sums": File(sums.encode()),
        "DEBIAN/prerm": File(_PRERM.encode(), 0o755),
    }
    write({**data, **control}, work)
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", work, out],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)},
        stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
