"""`cdi generate --from` and `--device`: the examples of docs/generate.md on trees made after vendors'."""

from __future__ import annotations

import os
import re
import stat
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import strategies as st

from ocishim.admin.cli import main
from ocishim.admin.generate.patterns import compiled, expand
from ocishim.admin.host import Host

pytestmark = pytest.mark.root

DOCUMENT = (Path(__file__).parents[3] / "docs/generate.md").read_text()
EXAMPLES = dict(re.findall(r"```toml\n# (\w+)\.toml\n(.*?)```", DOCUMENT, re.DOTALL))


def node(root: Path, path: str, mode: int = 0o666, gid: int = 0) -> None:
    real = root / path.lstrip("/")
    real.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(real, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    real.chmod(mode)
    os.chown(real, 0, gid)


def file(root: Path, path: str, text: str = "") -> None:
    real = root / path.lstrip("/")
    real.parent.mkdir(parents=True, exist_ok=True)
    real.write_text(text)


def link(root: Path, path: str, target: str) -> None:
    real = root / path.lstrip("/")
    real.parent.mkdir(parents=True, exist_ok=True)
    real.symlink_to(target)


def generate(root: Path, *words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["cdi", "generate", "--driver-root", str(root), *words])
    return result.exit_code, result.stdout, result.stderr


def example(root: Path, name: str) -> tuple[dict[str, Any], str]:
    """Return the spec of an example, and what was said of it."""
    file(root, f"{name}.toml", EXAMPLES[name])
    status, out, err = generate(root, "--from", str(root / f"{name}.toml"))
    assert status == 0, err
    spec: dict[str, Any] = yaml.safe_load(out)
    return spec, err


def nodes(spec: dict[str, Any]) -> dict[str, list[str]]:
    """Return the paths of each device's nodes, and the common ones as ""."""
    found = {one["name"]: one["containerEdits"] for one in spec["devices"]}
    found[""] = spec["containerEdits"]
    return {
        name: [one["path"] for one in edits.get("deviceNodes", [])] for name, edits in found.items()
    }


def test_there_are_six() -> None:
    assert sorted(EXAMPLES) == ["ascend", "gaudi", "intel", "rdma", "tenstorrent", "tpu"]


def test_intel_by_pci_address_and_only_intels(tmp_path: Path) -> None:
    for number, (bus, vendor) in enumerate(
        [("0000:03:00.0", "0x8086"), ("0000:41:00.0", "0x1002"), ("0000:83:00.0", "0x8086")]
    ):
        node(tmp_path, f"/dev/dri/renderD{128 + number}", 0o660, 105)
        link(tmp_path, f"/dev/dri/by-path/pci-{bus}-render", f"../renderD{128 + number}")
        file(tmp_path, f"/sys/bus/pci/devices/{bus}/vendor", f"{vendor}\n")
    node(tmp_path, "/dev/dri/card0", 0o660, 44)
    link(tmp_path, "/dev/dri/by-path/pci-0000:03:00.0-card", "../card0")
    spec, _ = example(tmp_path, "intel")
    assert nodes(spec) == {
        "0": ["/dev/dri/card0", "/dev/dri/renderD128"],
        "1": ["/dev/dri/renderD130"],
        "all": ["/dev/dri/card0", "/dev/dri/renderD128", "/dev/dri/renderD130"],
        "": [],
    }
    assert spec["devices"][0]["containerEdits"]["additionalGids"] == [44, 105]


def test_gaudi(tmp_path: Path) -> None:
    for number in (0, 1):
        node(tmp_path, f"/dev/accel/accel{number}")
        node(tmp_path, f"/dev/accel/accel_controlD{number}")
        file(tmp_path, f"/sys/class/accel/accel{number}/device/status")
    node(tmp_path, "/dev/infiniband/uverbs0")
    spec, _ = example(tmp_path, "gaudi")
    assert nodes(spec)["0"] == [
        "/dev/accel/accel0",
        "/dev/accel/accel_controlD0",
        "/dev/infiniband/uverbs0",
    ]
    assert nodes(spec)["1"] == ["/dev/accel/accel1", "/dev/accel/accel_controlD1"]
    assert spec["containerEdits"] == {"env": ["HABANA_VISIBLE_DEVICES=void"]}


def test_ascend(tmp_path: Path) -> None:
    for name in ("davinci_manager", "devmm_svm", "hisi_hdc", "davinci2", "davinci10"):
        node(tmp_path, f"/dev/{name}", 0o660, 1000)
    for path in ("driver/lib64/common/libc_sec.so", "driver/version.info"):
        file(tmp_path, f"/usr/local/Ascend/{path}")
    spec, told = example(tmp_path, "ascend")
    assert list(nodes(spec)) == ["2", "10", "all", ""]
    assert nodes(spec)[""] == ["/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"]
    common = spec["containerEdits"]
    assert [one["containerPath"] for one in common["mounts"]] == [
        "/usr/local/Ascend/driver/lib64",
        "/usr/local/Ascend/driver/version.info",
    ]
    assert common["mounts"][0]["hostPath"] == f"{tmp_path}/usr/local/Ascend/driver/lib64"
    assert common["hooks"][0]["args"][1:4] == [
        "update-ldcache", "--folder", "/usr/local/Ascend/driver/lib64/common",
    ]  # fmt: skip
    assert "warning: no /usr/local/bin/npu-smi of huawei.com/Ascend910 on this host; " in told


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        pytest.param(
            ["/dev/accel0", "/dev/accel1"],
            {"0": ["/dev/accel0"], "1": ["/dev/accel1"], "": []},
            id="v5e",
        ),
        pytest.param(
            ["/dev/vfio/vfio", "/dev/vfio/0", "/dev/vfio/11"],
            {"0": ["/dev/vfio/0"], "1": ["/dev/vfio/11"], "": ["/dev/vfio/vfio"]},
            id="v6e",
        ),
    ],
)
def test_tpu(tmp_path: Path, paths: list[str], wanted: dict[str, list[str]]) -> None:
    for path in paths:
        node(tmp_path, path)
    found = nodes(example(tmp_path, "tpu")[0])
    assert {name: found[name] for name in wanted} == wanted


def test_rdma_by_name(tmp_path: Path) -> None:
    node(tmp_path, "/dev/infiniband/rdma_cm")
    for number, name in enumerate(["mlx5_0", "mlx5_bond_0"]):
        node(tmp_path, f"/dev/infiniband/uverbs{number}")
        file(tmp_path, f"/sys/class/infiniband_verbs/uverbs{number}/ibdev", f"{name}\n")
    file(tmp_path, "/sys/class/infiniband_verbs/abi_version", "6\n")
    node(tmp_path, "/dev/infiniband/umad1")
    assert nodes(example(tmp_path, "rdma")[0]) == {
        "mlx5_0": ["/dev/infiniband/uverbs0"],
        "mlx5_bond_0": ["/dev/infiniband/umad1", "/dev/infiniband/uverbs1"],
        "all": ["/dev/infiniband/umad1", "/dev/infiniband/uverbs0", "/dev/infiniband/uverbs1"],
        "": ["/dev/infiniband/rdma_cm"],
    }


def test_tenstorrent(tmp_path: Path) -> None:
    node(tmp_path, "/dev/tenstorrent/0")
    (tmp_path / "dev/hugepages-1G").mkdir()
    spec, _ = example(tmp_path, "tenstorrent")
    assert nodes(spec)["0"] == ["/dev/tenstorrent/0"]
    options = spec["containerEdits"]["mounts"][0]["options"]
    assert options == ["rw", "nosuid", "nodev", "rbind", "rprivate"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", ": 'kind' is missing", id="empty"),
        pytest.param('kind = "a.com/b"\n', ": there is no [[device]]", id="no device"),
        pytest.param("kind = 3\n", ":1: expected string, found integer in 'kind'", id="type"),
        pytest.param(
            'kind = "a.com/b"\nnodess = []\n', ":2: unknown key 'nodess'", id="unknown key"
        ),
        pytest.param(
            'kind = "a.com/b"\n\n[[device]]\nname = "0"\ngids = [1]\n'
            '[[device]]\nname = "1"\nnodes = ["/a", 1]\n',
            ":8: expected string, found integer in 'device[1].nodes[1]'",
            id="an item of the second device",
        ),
        pytest.param(
            'kind = "a.com/b"\n[[device]]\nname = "0"\nnodes = ["dev/a"]\n',
            ":4: 'dev/a' is not an absolute path in 'device[0].nodes[0]'",
            id="relative path",
        ),
        pytest.param(
            'kind = "a.com/b"\n[[device]]\nnodes = ["/a"]\n',
            ":2: 'device[0]' has neither 'name' nor 'each'",
            id="no name",
        ),
        pytest.param(
            'kind = "a.com/b"\nenv = ["A"]\n', ":2: 'A' is not NAME=VALUE in 'env[0]'", id="env"
        ),
        pytest.param(
            'kind = "a.com/b"\n[[hooks]]\nargs = ["x"]\n',
            ":2: 'hooks[0].path' is no absolute path of a program",
            id="a hook without a program",
        ),
        pytest.param(
            'kind = "acme"\n[[device]]\nname = "0"\n',
            ":1: 'acme' is not VENDOR/CLASS in 'kind'",
            id="kind",
        ),
        pytest.param(
            'kind = "a.com/9"\n[[device]]\nname = "0"\n',
            ":1: invalid class. \"9\", should start with letter in 'kind'",
            id="class",
        ),
        pytest.param(
            'kind = "a.com/b"\n[[device]]\nenv = ["A=1"]\nname = "a b"\n',
            ":4: invalid character ' ' in device name \"a b\"",
            id="device name",
        ),
        pytest.param(
            'kind = "a.com/b"\nnodes = ["/a"]\n[[device]]\nname = "0"\nenv = []\n',
            ":3: 'device[0]' gives a container nothing",
            id="nothing",
        ),
        pytest.param(
            'kind = "a.com/b"\ngids = [-1]\n',
            ":2: expected integer from 0 to 4294967295, found -1 in 'gids[0]'",
            id="group",
        ),
        pytest.param(
            'kind = "a.com/b"\n[[hooks]]\nname = "create"\npath = "/bin/x"\n',
            ":2: expected one of prestart, createRuntime, createContainer, startContainer, "
            "poststart, poststop, found 'create' in 'hooks[0].name'",
            id="hook name",
        ),
        pytest.param(
            'kind = "a.com/b"\n[[hooks]]\npath = "/bin/x"\ntimeout = 0\n',
            ":2: expected seconds, 1 or more, found 0 in 'hooks[0].timeout'",
            id="timeout",
        ),
        pytest.param(
            'kind = "a.com/b"\n[[device]]\neach = ["/dev/null"]\nwhere = {"a" = "b"}\n',
            ':4: \'device[0].where\' is not "/file" = "text"',
            id="where",
        ),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    file(tmp_path, "x.toml", text)
    status, out, err = generate(tmp_path, "--from", str(tmp_path / "x.toml"))
    assert (status, out) == (1, "")
    assert err.splitlines()[0] == f"pyshimctl: {tmp_path}/x.toml{message}"


@pytest.mark.parametrize("text", [b"kind = ", b"\xff", b"a = " + b"[" * 10000])
def test_what_is_no_toml_is_told_where_the_form_is(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "x.toml").write_bytes(text)
    status, _, err = generate(tmp_path, "--from", str(tmp_path / "x.toml"))
    assert (status, err.splitlines()[1:]) == (1, ["hint: docs/generate.md has every key"])


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.toml")
    status, _, err = generate(tmp_path, "--from", str(tmp_path / "x.toml"))
    told = f"pyshimctl: {tmp_path}/x.toml: A pipe that nobody has written to"
    assert (status, err.splitlines()[0]) == (1, told)
    (tmp_path / "x.toml").unlink()
    os.mkfifo(tmp_path / "fact")
    file(tmp_path, "x.toml", 'kind = "a.com/b"\n[[device]]\nname = "x"\nenv = ["A={read:/fact}"]\n')
    assert generate(tmp_path, "--from", str(tmp_path / "x.toml"))[0] == 0


def test_two_of_one_name(tmp_path: Path) -> None:
    node(tmp_path, "/dev/a0")
    node(tmp_path, "/dev/a1")
    text = 'kind = "a.com/b"\n[[device]]\neach = ["/dev/a*"]\nname = "x"\nenv = ["A=1"]\n'
    file(tmp_path, "x.toml", text)
    status, _, err = generate(tmp_path, "--from", str(tmp_path / "x.toml"))
    assert status == 1
    assert err.splitlines()[0] == f"pyshimctl: {tmp_path}/x.toml:4: two devices are called 'x'"


def test_nothing_there(tmp_path: Path) -> None:
    text = 'kind = "a.com/b"\n[[device]]\neach = ["/dev/a*"]\nenv = ["A=1"]\n'
    file(tmp_path, "x.toml", text)
    status, _, err = generate(tmp_path, "--from", str(tmp_path / "x.toml"))
    assert status == 1
    assert err.splitlines()[0] == "pyshimctl: no a.com/b found: nothing matches /dev/a*"


def test_where_of_one_device(tmp_path: Path) -> None:
    file(tmp_path, "/sys/model", "old\n")
    text = 'kind = "a.com/b"\n[[device]]\nname = "{0}"\nwhere = {{"/sys/model" = "{0}"}}\nenv = ["A=1"]\n'
    for name, status in (("old", 0), ("new", 1)):
        file(tmp_path, "x.toml", text.format(name))
        assert generate(tmp_path, "--from", str(tmp_path / "x.toml"))[0] == status


def test_a_device_of_which_nothing_is_there(tmp_path: Path) -> None:
    node(tmp_path, "/dev/a")
    parts = [f'[[device]]\nname = "{one}"\noptional_nodes = ["/dev/{one}"]\n' for one in "ab"]
    file(tmp_path, "x.toml", 'kind = "a.com/b"\nall = false\n' + "".join(parts))
    status, out, err = generate(tmp_path, "--from", str(tmp_path / "x.toml"))
    assert status == 0
    assert list(nodes(yaml.safe_load(out))) == ["a", ""]
    assert "warning: b is left out: nothing of it is on this host" in err


def test_several_files_for_one_place(tmp_path: Path) -> None:
    for version in ("9", "10"):
        file(tmp_path, f"/opt/a-{version}/lib")
    text = 'kind = "a.com/b"\n[[device]]\nname = "0"\nmounts = ["/opt/a-*:/opt/a"]\n'
    file(tmp_path, "x.toml", text)
    _, out, err = generate(tmp_path, "--from", str(tmp_path / "x.toml"))
    mounts = yaml.safe_load(out)["devices"][0]["containerEdits"]["mounts"]
    assert [one["hostPath"] for one in mounts] == [f"{tmp_path}/opt/a-10"]
    assert err.splitlines()[0] == (
        "warning: /opt/a-* of 0 is 2 files for one place, /opt/a: /opt/a-10 is taken; "
        "name the one that is meant"
    )


def test_links_of_another_root_are_followed_there(tmp_path: Path) -> None:
    file(tmp_path, "/opt/driver-1/lib")
    link(tmp_path, "/usr/driver", "/opt/driver-1")
    text = 'kind = "a.com/b"\n[[device]]\nname = "0"\nmounts = ["/usr/driver"]\n'
    file(tmp_path, "x.toml", text)
    out = generate(tmp_path, "--from", str(tmp_path / "x.toml"))[1]
    mount = yaml.safe_load(out)["devices"][0]["containerEdits"]["mounts"][0]
    assert (mount["hostPath"], mount["containerPath"]) == (
        f"{tmp_path}/opt/driver-1", "/usr/driver",
    )  # fmt: skip


def test_hooks_never_lack_an_environment(tmp_path: Path) -> None:
    """Without one the image's environment would run as root on the host (CVE-2025-23266)."""
    text = 'kind = "a.com/b"\n[[hooks]]\npath = "/bin/x"\n[[device]]\nname = "0"\nenv = ["A=b"]\n'
    file(tmp_path, "x.toml", text)
    _, out, _ = generate(tmp_path, "--from", str(tmp_path / "x.toml"))
    assert yaml.safe_load(out)["containerEdits"]["hooks"] == [
        {
            "hookName": "createContainer",
            "path": "/bin/x",
            "args": ["x"],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
        }
    ]


def test_device_by_pattern(tmp_path: Path) -> None:
    for name in ("radio0", "radio1"):
        node(tmp_path, f"/dev/{name}", 0o660, 5)
    node(tmp_path, "/dev/ctl")
    words = ("--kind", "a.com/b", "--device", "/dev/radio*", "--device", "x=/dev/ctl")
    _, out, _ = generate(tmp_path, *words)
    spec = yaml.safe_load(out)
    assert nodes(spec) == {
        "radio0": ["/dev/radio0"],
        "radio1": ["/dev/radio1"],
        "x": ["/dev/ctl"],
        "": [],
    }
    assert spec["devices"][0]["containerEdits"]["additionalGids"] == [5]


def test_a_device_whose_path_makes_no_name(tmp_path: Path) -> None:
    node(tmp_path, "/dev/a b")
    words = ("--kind", "a.com/b", "--device")
    status, _, err = generate(tmp_path, *words, "/dev/a b")
    assert (status, err.splitlines()) == (2, [
        "pyshimctl: --device '/dev/a b': invalid character ' ' in device name \"a b\"",
        "hint: give it a name: NAME=/dev/a b",
    ])  # fmt: skip
    assert generate(tmp_path, *words, "x=/dev/a b")[0] == 0


def test_a_block_device_has_its_group_too(tmp_path: Path) -> None:
    file(tmp_path, "/dev/x")
    os.mknod(tmp_path / "dev/disk", stat.S_IFBLK | 0o660, os.makedev(7, 0))
    os.chown(tmp_path / "dev/disk", 0, 6)
    _, out, err = generate(tmp_path, "--kind", "a.com/b", "--device", "/dev/disk")
    assert yaml.safe_load(out)["devices"][0]["containerEdits"] == {
        "deviceNodes": [{"path": "/dev/disk", "hostPath": f"{tmp_path}/dev/disk", "gid": 6}],
        "additionalGids": [6],
    }
    assert "warning" not in err


def test_device_pattern_without_a_match(tmp_path: Path) -> None:
    words = ("--kind", "a.com/b", "--device", "/dev/radio*")
    assert (
        generate(tmp_path, *words)[2].splitlines()[0] == "pyshimctl: no device matches /dev/radio*"
    )


def test_kind_twice(tmp_path: Path) -> None:
    status, _, err = generate(tmp_path, "--kind", "a.com/b", "--vendor", "c.com")
    assert status == 2
    assert "--kind stands for --vendor and --class: give one or the other" in err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--kind", "bad"], "'bad' is not VENDOR/CLASS"),
        (["--vendor", "x y"], "invalid vendor. invalid character ' ' in name \"x y\""),
        (["--class", "1x"], 'invalid class. "1x", should start with letter'),
    ],
)
def test_what_is_no_kind(tmp_path: Path, words: list[str], why: str) -> None:
    status, _, err = generate(tmp_path, *words)
    assert (status, err.splitlines()[0]) == (2, f"pyshimctl: no kind of devices: {why}")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("/d/a*", [("/d/a1", "1"), ("/d/a2", "2"), ("/d/a10", "10")]),
        ("/d/a?", [("/d/a1", "1"), ("/d/a2", "2")]),
        ("/d/a[0-9]*", [("/d/a1", "1"), ("/d/a2", "2"), ("/d/a10", "10")]),
        ("/d/a[!1]", [("/d/a2", "2")]),
        ("/*/a1", [("/d/a1", "d")]),
        ("/d/*.x", [("/d/b.x", "b")]),
        ("/d/a1", [("/d/a1", "")]),
        ("/d/c", []),
        ("/none/*", []),
        ("/l/*", [("/l/in", "in")]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, found: list[tuple[str, str]]) -> None:
    for name in ("a1", "a2", "a10", "b.x"):
        file(tmp_path, f"/d/{name}")
    file(tmp_path, "/target/in")
    link(tmp_path, "/l", "/target")  # absolute: inside the root
    link(tmp_path, "/d/c", "/gone")
    assert [tuple(one) for one in expand(Host(str(tmp_path)), pattern)] == found


@hypothesis.given(
    negated=st.sampled_from(["", "!"]),
    members=st.text(alphabet="[]-^&|~\\.adz", min_size=1, max_size=6),
    name=st.sampled_from("[]!-^&|~\\.abdz"),
)
@hypothesis.example(negated="", members="z-a", name="b")
@hypothesis.example(negated="!", members="z-a", name="b")
@hypothesis.example(negated="", members="a!", name="!")
def test_brackets_are_the_shells(negated: str, members: str, name: str) -> None:
    """A '!' behind a range that is none, as in [z-a!], is a member; fnmatch takes it for a 'not'."""
    pattern = f"[{negated}{members}]"
    assert bool(compiled(pattern).fullmatch(name)) == fnmatchcase(name, pattern)
