"""What has systemd and udev run `pyshimctl cdi refresh`: files of deploy/, in place and enabled.

Which files were made is in the installation's record: an upgrade renews them, uninstall takes them.
"""

from __future__ import annotations

import os

from ocishim.admin.editing import files
from ocishim.admin.host import Host
from ocishim.admin.install import ownfiles
from ocishim.admin.install.installation import Installation
from ocishim.admin.install.integrity import LINK, Fault
from ocishim.admin.refresh.command import MARK, SPEC_DIR
from ocishim.errors import ConfigError, reason

RULE = "71-pyshim-cdi-refresh.rules"
UNITS = {
    "pyshim-cdi-refresh.service": "multi-user.target",
    "pyshim-cdi-refresh.path": "multi-user.target",
    "pyshim-cdi-refresh.timer": "timers.target",
}
"""Each unit and what wants it, as its [Install] says."""
KEY = "refresh"  # in the record
_UNITS = "/etc/systemd/system"
_RULES = "/etc/udev/rules.d"
_RUNNING = "/run/systemd/system"  # sd_booted(3)
_SYSTEMD = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
_USUAL_BIN = "/usr/local/bin"
_MAX_BYTES = 1 << 20  # theirs have a few lines


def require(host: Host) -> None:
    """Raise ConfigError where nothing would ever start a unit."""
    if not any(host.is_program(path) for path in _SYSTEMD):
        raise ConfigError(
            f"--refresh needs systemd, which is not in {host.root or '/'}",
            hint="have 'pyshimctl cdi refresh' run at boot and after upgrades of the driver",
        )


def planned(installation: Installation, *, asked: bool) -> list[str]:
    """Return what `put` would do."""
    return [f"write {path}" for path in _wrong(installation, asked=asked)]


def put(installation: Installation, *, asked: bool) -> list[str]:
    """Put in place and enable what is not, if it is asked for or was before; return what was done.

    Where systemd runs, it is told.
    """
    host = installation.host
    wrong = _wrong(installation, asked=asked)
    if not wrong:
        return []
    require(host)
    installation.make_folders(*sorted({os.path.dirname(path) for path in wrong}))
    contents = _contents(installation)
    for path in wrong:
        content = contents[path]
        if content.startswith(LINK):
            files.link(content.removeprefix(LINK), host.entry(path))
        else:
            files.replace(host.entry(path), content.encode(), 0o644)
    installation.write_record({**installation.record(), KEY: list(contents)})
    _systemctl(host, "daemon-reload")
    _systemctl(host, "restart", "--no-block", *UNITS)
    return [f"write {path}" for path in wrong]


def _wrong(installation: Installation, *, asked: bool) -> list[str]:
    found = _differences(installation) if asked or is_there(installation) else []
    return [fault.path for fault in found]


def is_there(installation: Installation) -> bool:
    """Whether an install put the units in place."""
    return KEY in installation.record()


def faults(installation: Installation) -> list[Fault]:
    """Return what is wrong with the units, where they were put in place."""
    return _differences(installation) if is_there(installation) else []


def paths(installation: Installation) -> list[str]:
    """Return where all of them are, or would be."""
    return list(_contents(installation))


def there(installation: Installation) -> list[str]:
    """Return what `remove` would: the files, and the specs that refresh wrote."""
    host = installation.host
    made = installation.record().get(KEY, [])
    found = [path for path in made if _is_entry(host.entry(path))]
    return [*found, *_written(host)] if made else []


def remove(installation: Installation) -> list[str]:
    """Stop and remove the units, and the specs they wrote, whose hooks would be gone."""
    host = installation.host
    gone = there(installation)
    if gone:
        _systemctl(host, "stop", *UNITS)
    for path in gone:
        os.unlink(host.entry(path))
    if gone:
        _systemctl(host, "daemon-reload")
    return [f"remove {path}" for path in gone]


def _contents(installation: Installation) -> dict[str, str]:
    """Return what is to be at each path: a file's text, or LINK and a link's target."""
    texts = {f"{_UNITS}/{name}": ownfiles.deployed(name) for name in UNITS}
    texts[f"{_RULES}/{RULE}"] = ownfiles.deployed(RULE)
    texts = {path: text.replace(_USUAL_BIN, installation.bin) for path, text in texts.items()}
    wants = {
        f"{_UNITS}/{target}.wants/{name}": f"{LINK}{_UNITS}/{name}"
        for name, target in UNITS.items()
    }
    return {**texts, **wants}


def _differences(installation: Installation) -> list[Fault]:
    found = []
    for path, content in _contents(installation).items():
        try:
            now = _now(installation.host.entry(path))
        except OSError as err:
            found.append(Fault(path, f"cannot be read: {reason(err)}"))
            continue
        if now is None:
            found.append(Fault(path, "is missing"))
        elif now != content.encode():
            found.append(
                Fault(path, f"is no {content}" if content.startswith(LINK) else "was changed")
            )
    return found


def _now(entry: str) -> bytes | None:
    """Return what is at `entry`, as `_contents` tells it; None: nothing. Raises OSError."""
    try:
        if os.path.islink(entry):
            return os.fsencode(LINK + os.readlink(entry))
        return files.content(entry, _MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_entry(entry: str) -> bool:
    """Whether something is at `entry` that can be unlinked."""
    return os.path.lexists(entry) and (os.path.islink(entry) or not os.path.isdir(entry))


def _written(host: Host) -> list[str]:
    """Return the specs that refresh wrote."""
    paths = [f"{SPEC_DIR}/{name}" for name in host.listdir(SPEC_DIR) if name.endswith(".yaml")]
    return [path for path in paths if files.text(host, path, len(MARK.encode())) == MARK]


def _systemctl(host: Host, *words: str) -> None:
    """Run systemctl on a machine whose systemd runs. Raises ConfigError with its words."""
    if not host.is_folder(_RUNNING):
        return
    done = host.run("systemctl", *words)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise ConfigError(
            f"systemctl {' '.join(words)}: {said}", hint=f"systemctl status {' '.join(UNITS)}"
        )
