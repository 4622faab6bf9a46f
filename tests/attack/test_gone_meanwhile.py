"""A second container takes a folder of a shared volume away, between any two steps of a hook.

Whoever shares a volume could else keep a container from starting at the right moment. Every
moment in turn: before each path that the hook resolves.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocishim.hooks import chain
from ocishim.rootfs.rootfs import Rootfs
from tests import libs
from tests.trees import make_tree

pytestmark = pytest.mark.root


class Robbed(Rootfs):
    """A rootfs whose `folder` is moved away before the step number `step`."""

    step = 0
    folder = ""

    def resolve(
        self, unsafe_path: str, flags: int = os.O_PATH, *, follow: bool = True, cross: bool = True
    ) -> int:
        self.step -= 1
        if self.step == 0:
            os.rename(self.folder, f"{self.folder}.away")
        return super().resolve(unsafe_path, flags, follow=follow, cross=cross)


def tree(root: Path) -> Path:
    make_tree(
        root, "file etc/ld.so.conf include /volume/conf.d/*.conf /volume/one.conf\n/volume/lib\n",
        "file volume/one.conf /volume/lib\n", "file volume/conf.d/a.conf /volume/lib\n",
        "symlink volume/lib/libb.so.1 /volume/other/libb.so.1", "file volume/file x",
        "dir volume/dev", "char volume/dev/nvidia0 195 0", "symlink dev /volume/dev",
    )  # fmt: skip
    libs.put(libs.library("liba.so.1"), root / "volume/lib/liba.so.1.2")
    libs.put(libs.library("libb.so.1"), root / "volume/other/libb.so.1")
    libs.put(libs.compat_library(None), root / "volume/compat/libcuda.so.999.1")
    return root


@pytest.mark.parametrize("words", [
    pytest.param(["update-ldcache", "--folder", "/volume/lib"], id="update-ldcache"),
    pytest.param(["create-soname-symlinks", "--folder", "/volume/lib"],
        id="create-soname-symlinks"),
    pytest.param(["enable-cuda-compat", "--host-driver-version", "500.1",
                  "--cuda-compat-container-root", "/volume/compat"], id="enable-cuda-compat"),
    pytest.param(["chmod", "--mode", "777", "--path", "/volume/file"], id="chmod"),
    pytest.param(["create-symlinks", "--link", "t::/volume/link"], id="create-symlinks"),
    pytest.param(["update-application-profile"], id="update-application-profile"),
])  # fmt: skip
@pytest.mark.parametrize(
    "folder", ["", "conf.d", "lib", "other", "compat", "compat/libcuda.so.999.1", "dev"]
)
def test_at_any_moment(tmp_path: Path, words: list[str], folder: str) -> None:
    for step in range(1, 200):
        root = tree(tmp_path / str(step))
        with Robbed.open_dir(str(root)) as rootfs:
            rootfs.step = step
            rootfs.folder = str(root / "volume" / folder).rstrip("/")
            steps = chain.parse([words], lambda _level, _text: None)
            chain.apply(rootfs, steps, lambda _level, _text: None)
            if rootfs.step > 0:
                return  # it took fewer steps
    pytest.fail("more steps than there can be")
