"""A file system that is a program's, and lies: fuse_server.c, mounted for as long as it runs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import libs

SOURCE = Path(__file__).with_name("fuse_server.c").read_text()


@contextmanager
def served(place: Path, lie: str) -> Iterator[subprocess.Popen[str]]:
    command = [str(libs.static_program(SOURCE)), str(place), lie]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        assert server.stdout.readline() == "mounted\n"
        yield server
    finally:
        server.kill()
        server.wait()
