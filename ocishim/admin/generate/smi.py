"""What the driver's own nvidia-smi tells of the GPUs: NVML without loading a library.

The static file cannot load libnvidia-ml.so.1, and nvidia-smi of the same driver always can. It is
run by the loader of its own root, with the libraries found there, and for no longer than LIMIT. Of
its XML, which every driver since 180 writes, a few elements are read (nvidia-smi.1, "-x").
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time

from ocishim.admin.generate import elf
from ocishim.admin.host import Host, not_run
from ocishim.errors import ConfigError

LIMIT = 60.0
"""Seconds: without persistence mode each GPU is initialised for the question, two or three each."""
_MAX_BYTES = 32 << 20
# Not read, and not always well formed: names of processes are written as they come.
_CHATTER = re.compile(r"<(processes|accounted_processes|supported_clocks)>.*?</\1>", re.DOTALL)
_TAG = re.compile(r"<(/?)([\w.-]+)([^<>]*?)(/?)>([^<]*)")
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&"))
_GPU_LINE = re.compile(r"GPU (\d+):")
_MIG_LINE = re.compile(r"\s+MIG .*Device\s+(\d+): \(UUID: ([^)\s]+)\)")

Element = tuple[str, str, list["Element"]]
"""Its tag, its text and the elements in it."""


class Smi:
    """nvidia-smi at `program` of `host`; folders: where the driver's libraries are.

    complaint: how it ended although it answered, "" when it ended well.
    """

    def __init__(self, host: Host, program: str, folders: list[str]) -> None:
        self.host = host
        self.program = program
        self.folders = folders
        self.complaint = ""

    def log(self) -> Element:
        """Return what `-q -x` says, its elements `gpu` in order of their indices.

        It may answer and fail: a GPU's infoROM that is corrupted makes its exit status 14. Raises
        ConfigError: it cannot be run, does not end, does not answer in XML or not of every GPU.
        """
        failure, text = self._run("-q", "-x")
        log = parse(text)
        if not log or log[0] != "nvidia_smi_log":
            raise ConfigError(f"{self.program} -q -x{failure or ' does not answer in XML'}")
        self.complaint = failure and f"{self.program} -q -x{failure}"
        found, count = children(log, "gpu"), value(log, "attached_gpus")
        if count.isdigit() and int(count) > len(found):
            raise ConfigError(
                f"{self.program} -q -x tells of {len(found)} of {count} GPUs{failure}"
            )
        return log

    def mig_uuids(self) -> dict[tuple[int, int], str]:
        """Return the uuid of each MIG device by GPU and index: in the XML they are not.

        Raises ConfigError: it cannot be run, does not end, or fails and tells of none.
        """
        found: dict[tuple[int, int], str] = {}
        gpu = -1
        failure, text = self._run("-L")
        for line in text.splitlines():
            if match := _GPU_LINE.match(line):
                gpu = int(match[1])
            elif match := _MIG_LINE.match(line):
                found[gpu, int(match[1])] = match[2]
        if failure and not found:
            raise ConfigError(f"{self.program} -L{failure}")
        return found

    def _run(self, *flags: str) -> tuple[str, str]:
        """Return how it failed, "" when it did not, and its output."""
        words, env = self._command()
        with tempfile.TemporaryFile() as out:
            try:
                process = subprocess.Popen(
                    [*words, *flags],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    cwd="/",
                    env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", **env},
                    start_new_session=True,
                )
            except OSError as err:
                raise not_run(self.program, self.host.real(self.program), err) from None
            status = _wait(process, LIMIT)
            out.seek(0)
            text = out.read(_MAX_BYTES).decode("utf-8", "replace")
        if status is None:
            raise ConfigError(f"{self.program} {' '.join(flags)} did not end in {LIMIT:g} s")
        last = (text.strip().splitlines() or ["it says nothing"])[-1].strip()
        return f": exit status {status}: {last}" if status else "", text

    def _command(self) -> tuple[list[str], dict[str, str]]:
        """Return how to run the program: by the root's own loader where that is another's."""
        real = self.host.real(self.program)
        where = ":".join(self.host.real(folder) for folder in self.folders)
        loader = elf.interpreter(real) if self.host.elsewhere else ""
        if loader and self.host.is_file(loader):
            return [self.host.real(loader), "--library-path", where, real], {}
        return [real], {"LD_LIBRARY_PATH": where}


def _wait(process: subprocess.Popen[bytes], limit: float) -> int | None:
    """Return the exit status; None when it did not end: then it and its children are killed.

    One that the kernel does not let go (state D, a driver that hangs) is left behind.
    """
    end = time.monotonic() + limit
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(max(1.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.returncode = -signal.SIGKILL  # nobody shall wait for it at our end
    return None


def parse(text: str) -> Element | None:
    """Return the root element; None when `text` is not well formed, as far as we read it.

    expat is no part of the static file, and nvidia-smi's XML has elements and texts only.
    """
    top: Element = ("", "", [])
    stack = [top]
    for match in _TAG.finditer(_CHATTER.sub("", text)):
        closing, tag, _attributes, empty, words = match.groups()
        if closing:
            if len(stack) < 2 or stack.pop()[0] != tag:
                return None
            continue
        element: Element = (tag, _plain(words), [])
        stack[-1][2].append(element)
        if not empty:
            stack.append(element)
    return top[2][0] if len(stack) == 1 and len(top[2]) == 1 else None


def _plain(text: str) -> str:
    for entity, char in _ENTITIES:
        text = text.replace(entity, char)
    return text.strip()


def children(element: Element, tag: str) -> list[Element]:
    """Return the elements `tag` in `element`."""
    return [child for child in element[2] if child[0] == tag]


def value(element: Element, *path: str) -> str:
    """Return the text of the element at `path`, "" when there is none or it is N/A."""
    for tag in path:
        found = children(element, tag)
        if not found:
            return ""
        element = found[0]
    return (
        ""
        if element[1] in ("N/A", "[N/A]", "Requested functionality has been deprecated")
        else element[1]
    )
