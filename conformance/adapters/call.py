"""What the adapters of engines share: a runtime's command line, and what the kit's bundles say."""

from __future__ import annotations

import json
import os
from typing import Any

CDI = "cdi.k8s.io/"
VALUED = ("--root", "--log", "--log-format", "--bundle", "--pid-file")


def parse(argv: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the words and the flags' values."""
    words: list[str] = []
    values: dict[str, str] = {}
    index = 0
    while index < len(argv):
        arg = argv[index]
        flag, equals, value = arg.partition("=")
        if flag in VALUED:
            values[flag] = value if equals else argv[index + 1]
            index += not equals
        elif not arg.startswith("-"):
            words.append(arg)
        index += 1
    return words, values


class Bundle:
    """The bundle that the flags name: its `spec`, and the absolute path of its `rootfs`."""

    def __init__(self, values: dict[str, str]) -> None:
        folder = os.path.abspath(values.get("--bundle", "."))
        self.rootfs = f"{folder}/rootfs"
        with open(f"{folder}/config.json", encoding="utf-8") as file:
            self.spec: dict[str, Any] = json.load(file)

    @property
    def args(self) -> list[str]:
        """The container's program and its arguments."""
        return list(self.spec["process"]["args"])

    def asked(self) -> list[str]:
        """Return the names that the annotations ask for."""
        annotations = self.spec.get("annotations", {})
        return [
            name
            for key, value in annotations.items()
            if key.startswith(CDI)
            for name in value.split(",")
        ]

    def flags(self) -> list[str]:
        """Return what podman and ctr call alike: devices, user and environment."""
        process = self.spec["process"]
        return [
            *(flag for name in self.asked() for flag in ("--device", name)),
            f"--user={process['user']['uid']}:{process['user']['gid']}",
            *(flag for text in process["env"] for flag in ("--env", text)),
        ]
