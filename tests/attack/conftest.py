"""Containers of the integration tests, for attacks that need a low-level runtime."""

from __future__ import annotations

from tests.integration.conftest import busybox, compiler, lowlevel, lowlevels, node, shim

__all__ = ["busybox", "compiler", "lowlevel", "lowlevels", "node", "shim"]
