"""The interpreter that the hot programs start: what it loads, and that it is a whole one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocishim.admin import boot, launchers

REPOSITORY = Path(__file__).parents[3]
SINCE_3_11 = pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 knows no ._pth on Linux")


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("boot")
    launchers.preload(launchers.interpreter(), launchers.library(), str(folder))
    return folder


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [boot.program(str(folder)), "-I", "-S", *words], env=environment, capture_output=True,
        text=True, encoding="utf-8", check=False,
    )  # fmt: skip


@SINCE_3_11
def test_what_a_start_loads(folder: Path) -> None:
    done = run(folder, "-X", "importtime", "-c", "import sys; print(sys.path)")
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {name for name in loaded if name.startswith("encodings")} == {"encodings"}
    assert loaded & {"encodings", "codecs", "io"}
    standard = os.path.dirname(os.__file__)
    assert (
        done.stdout == f"{[f'{folder}/.pyshim-python/lib', standard, f'{standard}/lib-dynload']}\n"
    )


@SINCE_3_11
def test_no_folder_of_the_library_is_listed(folder: Path) -> None:
    trace, script = folder / "trace", folder / "empty.py"
    script.touch()  # since 3.13 the -c of an interpreter needs more
    command = ["strace", "-f", "-e", "trace=openat", "-o", str(trace), boot.program(str(folder))]
    subprocess.run([*command, "-I", "-S", str(script)], env={}, check=True)
    listed = [line for line in trace.read_text().splitlines() if "O_DIRECTORY" in line]
    assert len(listed) == 1
    assert "/.pyshim-python/lib" in listed[0]


def test_a_broken_link_is_noticed(folder: Path) -> None:
    """The test above would say nothing if the interpreter came from somewhere else."""
    assert os.path.realpath(boot.program(str(folder))) == launchers.interpreter()


@pytest.mark.parametrize("names", [
    "importlib.metadata", "importlib.resources", "json, subprocess", "locale", "encodings.idna",
    "ctypes, select, fcntl", "concurrent.futures", "email.message", "sysconfig, platform",
])  # fmt: skip
def test_the_library_is_whole(folder: Path, names: str) -> None:
    done = run(folder, "-c", f"import {names}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", [
    "'ä'.encode('latin-1')", "b'\\xe4'.decode('cp1252')", "'ä'.encode('idna')",
    "b'\\xff\\xfeA\\0'.decode('utf-16')", "'ä'.encode('ascii', 'backslashreplace')",
    "'ä'.encode('UTF8'), 'ä'.encode('u8'), b'\\xef\\xbb\\xbfA'.decode('utf-8-sig')",
    "__import__('encodings').normalize_encoding('a b')",
    "__import__('encodings').aliases.aliases['latin1']",
    "__import__('codecs').lookup('utf-8').name, __import__('codecs').lookup('utf-8')._is_text_encoding",
    "__import__('codecs').getreader('utf-8')(__import__('io').BytesIO(b'\\xc3\\xa4\\n')).read()",
    "__import__('codecs').getwriter('utf-8')(__import__('io').BytesIO()).write('ä')",
    "__import__('io').TextIOWrapper(__import__('io').BytesIO(b'\\xe4'), 'latin-1').read()",
])  # fmt: skip
def test_other_encodings_are_the_librarys(folder: Path, script: str) -> None:
    done = run(folder, "-c", f"print(ascii(({script})))")
    expected = ascii(eval(script))
    assert (done.stdout, done.stderr) == (f"{expected}\n", "")


def test_an_unknown_encoding(folder: Path) -> None:
    done = run(folder, "-c", "b'a'.decode('no-such')")
    assert done.stderr.splitlines()[-1] == "LookupError: unknown encoding: no-such"


@pytest.mark.parametrize("name", ["C", "POSIX", "C.UTF-8", "de_DE.ISO-8859-1", "nonsense", ""])
def test_in_any_locale(folder: Path, name: str) -> None:
    script = "import sys; print(sys.getfilesystemencoding(), ascii(sys.argv[1]), '\\xe4')"
    words = ("-c", script, "a\udcff\xe4")
    usual = subprocess.run(
        [launchers.interpreter(), "-I", "-S", *words],
        env={"LC_ALL": name},
        capture_output=True,
        check=False,
    )
    ours = subprocess.run(
        [boot.program(str(folder)), "-I", "-S", *words],
        env={"LC_ALL": name},
        capture_output=True,
        check=False,
    )
    assert (ours.returncode, ours.stdout, ours.stderr) == (
        usual.returncode,
        usual.stdout,
        usual.stderr,
    )
    assert usual.returncode == 0


def test_nobody_elses_settings(folder: Path, tmp_path: Path) -> None:
    """Neither the environment nor the folder one is in says what is imported."""
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')")
    environment = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path), "PYTHONSTARTUP": "x"}
    done = subprocess.run(
        [boot.program(str(folder)), "-I", "-S", "-c", "import json; print('fine')"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("fine\n", "")


CODECS = """
import codecs, io, sys
data = bytes.fromhex(sys.argv[1])
def tried(call):
    try:
        return call()
    except UnicodeError as error:
        return str(error)
for errors in ("strict", "replace", "surrogateescape", "ignore"):
    for name in ("utf-8", "UTF8", "utf_8"):
        print(ascii(tried(lambda: data.decode(name, errors))))
    decoder = codecs.getincrementaldecoder("utf-8")(errors)
    print(ascii(tried(lambda: [decoder.decode(data[i:i+1], i + 1 == len(data)) for i in range(len(data))])))
    text = data.decode("utf-8", "surrogateescape")
    encoder = codecs.getincrementalencoder("utf-8")(errors)
    print(tried(lambda: [encoder.encode(one) for one in text]))
    print(ascii(tried(lambda: io.TextIOWrapper(io.BytesIO(data), "utf-8", errors).read())))
"""


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.one_of(st.binary(max_size=20), st.text(max_size=10).map(str.encode)))
def test_utf_8_is_the_librarys(folder: Path, data: bytes) -> None:
    usual = subprocess.run(
        [launchers.interpreter(), "-I", "-S", "-c", CODECS, data.hex()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run(folder, "-c", CODECS, data.hex()).stdout == usual.stdout


def test_everybody_can_start_it(tmp_path: Path) -> None:
    """Containers' roots that are somebody else here run hooks, whatever the umask was."""
    script = "import os, sys; os.umask(0o077); from ocishim.admin import launchers; launchers.write(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "bin")], cwd=REPOSITORY, check=True
    )
    below = tmp_path / "bin" / boot.FOLDER
    for path in (below, *below.rglob("*")):
        if not path.is_symlink():
            assert path.stat().st_mode & 0o055 == (0o055 if path.is_dir() else 0o044), path
