"""The man pages: all of the commands, settings and hooks are there, and man(1) has no complaint."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import click
import pytest

from ocishim.admin.cli import main
from ocishim.oci import hooktable
from ocishim.settings.defaults import DEFAULTS
from tests.conftest import need
from tools.packaging import manual, project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def commands(above: click.Context) -> Iterator[click.Context]:
    """Yield the context of every command below `above`."""
    assert isinstance(above.command, click.Group)
    for name in above.command.list_commands(above):
        command = above.command.get_command(above, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=above)
        yield context
        if isinstance(command, click.Group):
            yield from commands(context)


COMMANDS = [*commands(click.Context(main, info_name="pyshimctl"))]


@pytest.mark.parametrize("name", manual.PAGES)
def test_man_reads_it(name: str, tmp_path: Path) -> None:
    need("go-md2man")
    page = tmp_path / name
    page.write_bytes(manual.roff(manual.PAGES[name]()))
    done = subprocess.run(
        [need("man"), "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page],
        env={"LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80", "PATH": "/usr/bin:/bin"},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    shown = subprocess.run(
        ["man", "-E", "UTF-8", "-l", page],
        env={"LC_ALL": "C.UTF-8", "MANWIDTH": "80", "PATH": "/usr/bin:/bin"},
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    title = f"{name[:-2]}({name[-1]})"
    assert shown.split()[0] == shown.split()[-1] == title
    # What Markdown or click would have taken for a mark of theirs.
    assert [mark for mark in ("\\b", "](", "`", "<!--", "**", "T{") if mark in shown] == []


@pytest.mark.parametrize("name", manual.PAGES)
def test_readers_of_other_systems_read_it(name: str) -> None:
    """A page that is made here is read on a newer Debian, and by mandoc on Alpine."""
    need("go-md2man")
    page = manual.roff(manual.PAGES[name]()).decode()
    assert {*re.findall(r"\\f(.)", page)} <= {*"BIPR"}
    assert re.findall(r"^\.S[HS] .*\n\.PP$", page, re.MULTILINE) == []


@pytest.mark.parametrize("context", COMMANDS, ids=lambda context: context.command_path)
def test_every_command_is_there(context: click.Context) -> None:
    page = manual.ctl_page()
    words = context.command_path.removeprefix("pyshimctl ")
    own = page.partition(f"\n## {words} ")[2].partition("\n## ")[0]
    for parameter in context.command.params:
        for name in (*parameter.opts, *parameter.secondary_opts):
            assert name in own or isinstance(parameter, click.Argument)


@pytest.mark.parametrize("context", COMMANDS, ids=lambda context: context.command_path)
def test_help_has_no_mark_of_clicks(context: click.Context) -> None:
    assert "\\b" not in context.command.get_help(context)


@pytest.mark.parametrize("setting", DEFAULTS)
def test_every_setting_is_there(setting: str) -> None:
    assert f"\n**{setting}** = " in manual.config_page()


@pytest.mark.parametrize("hook", hooktable.HOOKS)
def test_every_hook_is_there(hook: str) -> None:
    own = manual.hook_page().partition(f"\n## {hook}\n\n")[2].partition("\n## ")[0]
    assert "lags" in own


def test_a_heading_that_is_gone() -> None:
    with pytest.raises(KeyError, match=r"README\.md: no heading 'Gone'"):
        project.section("README.md", "Gone")
