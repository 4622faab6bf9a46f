"""`pyshimctl configure`, whatever the engine: it must be there, and must be able to read it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ocishim.admin.editing.files import Edit
from ocishim.admin.engines import ENGINES, complaint, programs, trial
from ocishim.admin.host import Host
from ocishim.errors import ConfigError
from tests.unit.admin.configuring import Machine

if TYPE_CHECKING:
    from pathlib import Path

DAEMONS = {"containerd": "containerd", "crio": "crio", "docker": "dockerd", "podman": "podman"}
REFUSES = "#!/bin/sh\necho 'line 7: I do not like it' >&2\nexit 1\n"
FILES = {
    "containerd": "/etc/containerd/config.toml",
    "crio": "/etc/crio/crio.conf.d/99-pyshim.conf",
    "docker": "/etc/docker/daemon.json",
    "podman": "/etc/containers/containers.conf.d/99-pyshim.conf",
}
# dockerd before 23 cannot be asked; a newer one says so in its help.
DOCKERD = (
    "#!/bin/sh\n[ $1 = --help ] && exec echo '--validate'\n"
    "echo 'line 7: I do not like it' >&2\nexit 1\n"
)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "name", ["", "a b", "/usr/bin/runc", "-a", "a\n", "\N{LATIN SMALL LETTER U WITH DIAERESIS}"]
)
def test_what_is_no_name_of_a_runtime(machine: Machine, engine: str, name: str) -> None:
    before = machine.files()
    result = machine.call("configure", engine, f"--runtime-name={name}")
    assert (result.exit_code, machine.files()) == (2, before)
    assert "is no name for a runtime\n" in result.output


def test_podman_in_a_tree_in_which_it_does_not_run(machine: Machine) -> None:
    machine.program("/usr/bin/podman")
    done = machine.call_as_is("configure", "podman")
    assert (done.exit_code, machine.exists(FILES["podman"])) == (0, True)
    assert done.stderr == (
        "note: podman was not asked whether it can read this: it does not run without"
        f" /sys/fs/cgroup, which {machine.root} lacks\n"
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_a_name_that_is_the_engines_own(machine: Machine, engine: str) -> None:
    """It ends with "runtime name 'runc' is reserved"; the others let it be replaced."""
    before = machine.files()
    result = machine.call("configure", engine, "--runtime-name=runc")
    assert result.exit_code == (2 if engine == "docker" else 0)
    assert (machine.files() == before) is (engine == "docker")
    assert machine.call("configure", engine, "--runtime-name=runc", "--remove").exit_code == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_program_that_no_file_can_name(machine: Machine, engine: str) -> None:
    program = "/usr/local/bin/a\udcffb"
    (machine.root / program.lstrip("/")).write_text("")
    (machine.root / program.lstrip("/")).chmod(0o755)
    before = machine.files()
    result = machine.call("configure", engine, "--runtime-path", program)
    assert (result.exit_code, result.stderr) == (
        1,
        (
            r"pyshimctl: '/usr/local/bin/a\xffb' is not UTF-8, and no engine's file can name it"
            "\nhint: name another by --runtime-path: a link to it will do\n"
        ),
    )
    assert machine.files() == before


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's programs run without a chroot, since it holds no shell."""

    def run(self: Host, *argv: str) -> Any:
        command = [self.real(one) if one.startswith("/") else one for one in argv]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    monkeypatch.setattr(Host, "run", run)


def install(machine: Machine, engine: str, text: str, folder: str = "/usr/sbin") -> None:
    machine.write(f"{folder}/{DAEMONS[engine]}", text).chmod(0o755)
    (machine.root / "sys/fs/cgroup").mkdir(parents=True, exist_ok=True)  # Podman wants it


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_is_not_installed_is_refused(machine: Machine, engine: str) -> None:
    before = machine.files()
    result = machine.call_as_is("configure", engine)
    assert (result.exit_code, result.output) == (
        1,
        (
            f"pyshimctl: {engine} is not installed: no {DAEMONS[engine]} in PATH or the usual folders\n"
            "hint: install it first: its package asks about files that are there already; or --force\n"
        ),
    )
    assert machine.files() == before


@pytest.mark.parametrize("engine", ENGINES)
def test_remove_does_not_ask_for_the_engine(machine: Machine, engine: str) -> None:
    before = machine.files()
    machine.configure(engine)
    assert machine.files() != before
    assert machine.call_as_is("configure", engine, "--remove").exit_code == 0
    assert machine.files() == before


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("there", [True, False], ids=["a file before", "none"])
@pytest.mark.parametrize("engine", ENGINES)
def test_the_engine_refuses(machine: Machine, engine: str, *, there: bool) -> None:
    install(machine, engine, DOCKERD if engine == "docker" else REFUSES)
    if there:
        machine.write(FILES[engine], "{}" if engine == "docker" else "# mine\n").chmod(0o640)
    before = machine.files()
    result = machine.call_as_is("configure", engine)
    assert (result.exit_code, result.output) == (
        1,
        (
            f"pyshimctl: {engine} refuses the result: line 7: I do not like it\n"
            "hint: nothing was changed; correct what it complains about, and try again\n"
        ),
    )
    assert machine.files() == before
    assert machine.call_as_is("configure", engine, "--force").exit_code == 1


ASKED = """#!/bin/sh
case $1 in --help) echo --validate;; *) echo "asked about '$CONTAINERS_CONF' $*" >&2; exit 1;; esac
"""


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(("engine", "options", "words"), [
    ("podman", [], "asked about '' --root="),
    ("podman", ["--config=/x.conf"], "asked about '/x.conf.d/99-pyshim.conf' --root="),
    ("podman", ["--config=/x.conf", "--drop-in=/y.conf"], "asked about '/y.conf' --root="),
    ("crio", [], "asked about '' config\n"),
    ("crio", ["--config=/x.conf"], "asked about '' --config-dir @/x.conf.d config\n"),
    ("crio", ["--drop-in=/y/z.conf"], "asked about '' --config-dir @/y config\n"),
    ("docker", ["--config=/x.json"], "asked about '' --validate --config-file @/x.json\n"),
])  # fmt: skip
def test_the_files_that_were_named_are_asked_about(
    machine: Machine, engine: str, options: list[str], words: str
) -> None:
    install(machine, engine, ASKED)
    result = machine.call_as_is("configure", engine, *options)
    assert words.replace("@", str(machine.root)) in result.output


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("engine", ENGINES)
def test_pyshim_is_taken_out_of_files_that_the_engine_cannot_read_anyway(
    machine: Machine, engine: str
) -> None:
    if engine in {"containerd", "docker"}:
        machine.write(FILES[engine], "{}" if engine == "docker" else "# mine\n")
    before = machine.files()
    machine.configure(engine)
    install(machine, engine, DOCKERD if engine == "docker" else REFUSES)
    result = machine.call_as_is("configure", engine, "--remove")
    assert result.exit_code == 0
    assert f"note: {engine} cannot read its files, with pyshim and without: line 7" in result.stderr
    assert machine.files() == {**before, **{p: t for p, t in machine.files().items() if "bin" in p}}


@pytest.mark.usefixtures("asked")
def test_a_containerd_whose_default_would_be_no_runtime(machine: Machine) -> None:
    dump = (
        "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.containerd]\n"
        "default_runtime_name = 'runc'\nruntimes = {pyshim = {options = {BinaryName = 'x'}}}\n"
    )
    install(machine, "containerd", f'#!/bin/sh\ncat <<"EOS"\n{dump}EOS\n')
    result = machine.call_as_is("configure", "containerd")
    assert result.output.startswith(
        "pyshimctl: containerd refuses the result: default_runtime_name is 'runc', and no runtime"
        " has that name\n"
    )


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("later", "default", "old", "words"),
    [
        pytest.param("zz.toml", "runc", "", "no runtime 'pyshim' is seen:"
            " /etc/containerd/conf.d/zz.toml is read later;"
            " --drop-in /etc/containerd/conf.d/zzz-pyshim.toml comes after it", id="not seen"),
        pytest.param("../zz.toml", "runc", "", "no runtime 'pyshim' is seen: /etc/containerd/zz.toml"
            " is read later; --drop-in /etc/containerd/zzz-pyshim.toml comes after it",
            id="not seen for a file elsewhere"),
        pytest.param("", "runc", "", "no runtime 'pyshim' is seen: /etc/containerd/config.toml is of"
            " version 2, which it reads otherwise", id="not seen whatever is read"),
        pytest.param("zz.toml", "pyshim", "", "", id="the default"),
        pytest.param("zz.toml", "crun", "", "the default runtime is 'crun':"
            " /etc/containerd/conf.d/zz.toml is read later;"
            " --drop-in /etc/containerd/conf.d/zzz-pyshim.toml comes after it", id="a default later"),
        pytest.param("", "pyshim", "io.containerd.runc.v2", "the table default_runtime is the default"
            " runtime, whatever its name: remove it", id="the default of before 1.3"),
    ],
)  # fmt: skip
def test_a_containerd_that_does_not_see_what_was_wished(
    machine: Machine, later: str, default: str, old: str, words: str
) -> None:
    cri = '[plugins."io.containerd.grpc.v1.cri"'
    imports = 'imports = ["/etc/containerd/conf.d/*.toml", "/etc/containerd/z*.toml"]\n'
    machine.write("/etc/containerd/config.toml", f"version = 2\n{imports if later else ''}")
    if later:
        machine.write(
            f"/etc/containerd/conf.d/{later}", f"version = 2\n{cri}]\nenable_cdi = true\n"
        )
    ours = "" if "not seen" in words or "is seen" in words else "BinaryName = 'x'"
    dump = (
        f"version = 2\n{cri}.containerd]\ndefault_runtime_name = '{default}'\n"
        f"{cri}.containerd.default_runtime]\nruntime_type = '{old}'\n"
        f"{cri}.containerd.runtimes]\nrunc = {{}}\ncrun = {{}}\n"
        f"{cri}.containerd.runtimes.pyshim.options]\n{ours}\n"
    )
    install(machine, "containerd", f'#!/bin/sh\ncat <<"EOS"\n{dump}EOS\n')
    before = machine.files()
    result = machine.call_as_is("configure", "containerd", "--set-as-default")
    if words:
        assert result.stderr.startswith(f"pyshimctl: containerd refuses the result: {words}\n")
    assert (result.exit_code, machine.files() == before) == (int(bool(words)), bool(words))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_cannot_be_run_is_a_note(machine: Machine, engine: str) -> None:
    """The machine's root has no shell, or is of another architecture."""
    install(machine, engine, "#!/no/such/shell\n")
    result = machine.call_as_is("configure", engine)
    assert result.exit_code == 0
    if engine != "containerd":  # without a file there is nothing to ask about
        assert f"note: {engine} was not asked whether it can read this: " in result.stderr


@pytest.mark.parametrize(
    "folder",
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/snap/bin"],
)
def test_a_program_is_found_in_the_usual_folders(machine: Machine, folder: str) -> None:
    install(machine, "docker", REFUSES, folder)
    assert programs.find(Host(str(machine.root)), ("dockerd",)) == f"{folder}/dockerd"


def test_a_program_is_found_in_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dockerd-of-mine"
    program.write_text("#!/bin/sh\n")
    assert programs.find(Host(), (program.name,)) == ""
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"relative:{tmp_path}")
    assert programs.find(Host(), (program.name,)) == str(program)


class TestTrial:
    """Edits that are made, and taken back, with what the engine would see meanwhile."""

    @pytest.fixture
    def edits(self, tmp_path: Path) -> list[Edit]:
        host = Host(str(tmp_path))
        for path, text in {"etc/changed": "a", "etc/removed": "b", "etc/d.d/same": "c"}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        (tmp_path / "etc/changed").chmod(0o640)
        return [
            Edit(host, "/etc/changed", "a", "A"),
            Edit(host, "/etc/removed", "b", None),
            Edit(host, "/etc/d.d/same", "c", "c"),
            Edit(host, "/etc/new/made", None, "D"),
        ]

    @staticmethod
    def seen(root: Path) -> dict[str, str]:
        files = (path for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(root)): path.read_text() for path in files}

    def test_nobody_else_sees_a_rehearsal(self, edits: list[Edit], tmp_path: Path) -> None:
        before = self.seen(tmp_path)
        words = trial.rehearse(
            edits[0].host, edits, lambda _: str(sorted(self.seen(tmp_path / "etc")))
        )
        assert self.seen(tmp_path) == before
        # As an ordinary user there is none.
        assert words in ("", str(["changed", "d.d/same", "new/made"]))

    @pytest.mark.root
    def test_the_engine_sees_the_rehearsal(self, edits: list[Edit], tmp_path: Path) -> None:
        words = trial.rehearse(
            edits[0].host, edits, lambda _: str(sorted(self.seen(tmp_path / "etc")))
        )
        assert words == str(["changed", "d.d/same", "new/made"])

    def test_what_was_there_is_kept_until_the_engine_has_read_it(
        self, edits: list[Edit], tmp_path: Path
    ) -> None:
        meanwhile: list[dict[str, str]] = []

        def reads(_: str) -> str:
            meanwhile.append(self.seen(tmp_path))
            return ""

        assert trial.make(edits[0].host, edits, reads) == ""
        after = {"etc/changed": "A", "etc/d.d/same": "c", "etc/new/made": "D"}
        kept = {"etc/changed.pyshim-old": "a", "etc/removed.pyshim-old": "b"}
        assert meanwhile == [{**after, **kept}]
        assert self.seen(tmp_path) == after

    @pytest.mark.parametrize("error", [False, True], ids=["words", "an exception"])
    def test_everything_is_as_it_was_when_the_engine_refuses(
        self, edits: list[Edit], tmp_path: Path, *, error: bool
    ) -> None:
        before = self.seen(tmp_path)
        inode = (tmp_path / "etc/changed").stat().st_ino

        def refuses(_: str) -> str:
            if error:
                raise KeyboardInterrupt
            return "no"

        try:
            assert trial.make(edits[0].host, edits, refuses) == "no"
        except KeyboardInterrupt:
            assert error
        assert self.seen(tmp_path) == before
        assert (tmp_path / "etc/changed").stat().st_ino == inode

    @pytest.mark.parametrize("fails", ["rename", "copy2"])
    def test_what_cannot_be_written_is_told_by_its_name(
        self, edits: list[Edit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
    ) -> None:
        """An immutable file, which cannot be linked either; a file system that is read-only."""
        before = self.seen(tmp_path)
        really = os.rename

        def link(*_: object) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        def rename(source: str, target: str) -> None:
            if str(target).endswith("/changed"):
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), target)
            really(source, target)

        def copy(source: str, target: str) -> None:
            if source.endswith("/changed"):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), target)
            os.symlink(source, target)

        monkeypatch.setattr(os, "link", link)
        if fails == "rename":
            monkeypatch.setattr(os, "rename", rename)
        else:
            monkeypatch.setattr(shutil, "copy2", copy)
        with pytest.raises(ConfigError) as caught:
            trial.make(edits[0].host, [*edits[1:], edits[0]], lambda _: "")
        why = "Operation not permitted" if fails == "rename" else "Read-only file system"
        assert caught.value.message == f"/etc/changed: cannot be written: {why}"
        assert self.seen(tmp_path) == before

    def test_a_drop_in_folder_gets_no_other_file(self, tmp_path: Path) -> None:
        """CRI-O reads whatever lies there."""
        host = Host(str(tmp_path))
        (tmp_path / "crio.conf.d").mkdir()
        (tmp_path / "crio.conf.d/99").write_text("a")
        names: list[str] = []

        def lists(_: str) -> str:
            names.extend(path.name for path in (tmp_path / "crio.conf.d").iterdir())
            return ""

        trial.make(host, [Edit(host, "/crio.conf.d/99", "a", "b")], lists)
        assert names == ["99"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("level=info\ncontainerd: Can't convert [\n[a]\n  x = 1\n](T) to trees\n",
            "containerd: Can't convert [ [a] x = 1 ](T) to trees"),
        ("containerd: one\ncontainerd: two\n\n", "containerd: two"),
        ("one\ntwo\n", "two"),
        ("", "exit status 1"),
    ],
)  # fmt: skip
def test_what_an_engine_says_is_its_last_message(tmp_path: Path, said: str, told: str) -> None:
    (tmp_path / "said").write_text(said)
    program = tmp_path / "containerd"
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/said >&2\nexit 1\n")
    program.chmod(0o755)
    assert complaint(Host(), str(program), "config", "dump") == told
