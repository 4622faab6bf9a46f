"""The program `pyshim`: decide, edit, become the low-level runtime.

A failure before the low-level runtime is told once, in the words of log.py, and ends with exit
status 1.
"""

from __future__ import annotations

import time

from ocishim import posixos
from ocishim.create import argv
from ocishim.errors import PyshimError, UsageError, reason, sort_of
from ocishim.lowlevel import lowlevel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocishim.settings.config import Config

_NOT_AT_RESTORE = (
    "restore runs no createContainer hooks: links and library cache are those of the rootfs, and a "
    'rootfs that is not the one of the checkpoint lacks them; hooks.executor = "shim" has them made'
)


def main(
    program: str, arguments: list[str], restore: Callable[[], None] = posixos.end_at_writes
) -> int:
    """Run one command line; returns only on failure, with the exit status.

    program: path that the engine called. arguments: what followed argv[0].
    restore: see lowlevel.become().
    """
    invocation = argv.parse(arguments)
    try:
        lowlevel.become(_prepare(program, invocation), arguments, restore)
    except PyshimError as err:
        _fail(invocation, program, str(err), err)
    except OSError as err:
        where = f"{err.filename}: " if err.filename else ""
        _fail(invocation, program, f"{invocation.command}: {where}{reason(err)}", err)
    except MemoryError as err:
        _fail(invocation, program, f"{invocation.command}: out of memory", err)
    except Exception as err:  # noqa: BLE001 - a traceback in the container's stderr helps nobody
        words = f"{type(err).__name__}: {err}"
        _fail(invocation, program, f"{invocation.command}: internal error: {words}", err)
    return 1


def _prepare(program: str, invocation: argv.Invocation) -> str:
    """Edit the bundle when the command wants one; return the low-level runtime's path."""
    from ocishim.settings import config as settings  # noqa: PLC0415 - after parsing, for its errors

    if not invocation.edits:
        return _lowlevel_regardless(program)
    if invocation.fault:
        raise UsageError(invocation.fault, hint=invocation.hint)
    started = time.monotonic()
    config = settings.load()
    path = _find(config, program)
    from ocishim.create import plan, record  # noqa: PLC0415 - not for commands that pass through
    from ocishim.log import OwnLog  # noqa: PLC0415
    from ocishim.oci.bundle import Bundle  # noqa: PLC0415

    log = OwnLog(config.log_file, config.log_level, invocation.container_id, config.log_format)
    try:
        folder = _absolute(invocation.bundle) or posixos.getcwd()
        bundle = Bundle(folder, _absolute(invocation.config_file))
        log.owner = record.owner(bundle.spec)
        made = plan.create(bundle, config, path, hook_program(program), log)
        if invocation.command == "restore" and made.creates():
            log.write("warning", _NOT_AT_RESTORE)
    except PyshimError as err:
        log.write("error", str(err))
        raise
    record.succeeded(
        record.Call(invocation.container_id, folder, program, started), made, config, path, log
    )
    return path


def _absolute(path: str) -> str:
    """Return `path` as an absolute path, its `..` and links left for the kernel; "" stays ""."""
    return path if path[:1] in ("", "/") else f"{posixos.getcwd()}/{path}"


def _lowlevel_regardless(program: str) -> str:
    """Find the runtime for a command that passes through, broken configuration or not."""
    from ocishim.settings import config as settings  # noqa: PLC0415

    try:
        config = settings.load()
    except PyshimError:
        from ocishim.settings import brokenfile  # noqa: PLC0415 - rare: a broken file

        runtimes = brokenfile.runtimes_of_broken(settings.path())
        return lowlevel.find(runtimes, settings.search_path(), program, settings.path())
    return _find(config, program)


def _find(config: Config, program: str) -> str:
    from ocishim.settings import config as settings  # noqa: PLC0415

    return lowlevel.find(config.runtimes, settings.search_path(), program, config.path)


def hook_program(program: str) -> str:
    """Return the path of `pyshim-hook`: it lies beside `program`, or is the same file.

    The static file is any of the programs, by args[0]; somebody may have copied nothing else. It
    may have been called by a descriptor that is closed by now (fexecve).
    """
    file = posixos.path.realpath(program)
    beside = posixos.path.join(posixos.path.dirname(file), "pyshim-hook")
    if posixos.access(beside, posixos.X_OK) or not posixos.IS_STATIC:
        return beside
    return file if posixos.access(file, posixos.X_OK) else posixos.path.realpath("/proc/self/exe")


def _fail(invocation: argv.Invocation, program: str, message: str, err: Exception) -> None:
    from ocishim import log  # noqa: PLC0415 - failure only

    log.fail(message, invocation.log, invocation.log_format)
    if not invocation.edits:
        return
    try:
        from ocishim.create import record  # noqa: PLC0415 - failure only

        folder = _absolute(invocation.bundle) or posixos.getcwd()
        call = record.Call(invocation.container_id, folder, program)
        record.failed(call, _absolute(invocation.config_file), message, sort_of(err))
    except Exception:  # noqa: BLE001, S110 - what failed has been said
        pass
