"""An RPM, by rpmbuild and the spec file beside this."""

from __future__ import annotations

import os
import shutil
import subprocess
import textwrap
from pathlib import Path

from tools.packaging.project import EPOCH, SUMMARY, VERSION, description
from tools.packaging.tree import Tree, write


def build(files: Tree, arch: str, licence: str, work: Path, out: Path) -> None:
    """Write pyshim-VERSION-1.ARCH.rpm into `out`; `work` is a folder for what it is made of."""
    places = {path.replace("zsh/vendor-completions", "zsh/site-functions"): path for path in files}
    write({place: files[path] for place, path in places.items()}, work / "tree")
    given = {
        "_topdir": work,
        "_rpmdir": work / "out",
        "_buildhost": "reproducible",
        "use_source_date_epoch_as_buildtime": 1,
        "clamp_mtime_to_source_date_epoch": 1,
        "tree": work / "tree",
        "project_version": VERSION,
        "project_summary": SUMMARY,
        "project_license": licence,
        "project_description": textwrap.fill(description(), 78, break_on_hyphens=False),
    }
    defines = [word for name, value in given.items() for word in ("--define", f"{name} {value}")]
    spec = Path(__file__).with_name("pyshim.spec")
    subprocess.run(
        ["rpmbuild", "-bb", "--quiet", "--target", f"{arch}-linux", *defines, spec],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)},
        stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    for made in (work / "out").glob("*/*.rpm"):
        shutil.copy(made, out)
