"""`pyshimctl configure containerd`: what its files say before and after."""

from __future__ import annotations

import json

import pytest

from ocishim.admin.editing import tomlfile
from ocishim.admin.editing.tomlfile import find
from tests.unit.admin.configuring import PROGRAM, Machine

CONFIG = "/etc/containerd/config.toml"
DROP_IN = "/etc/containerd/conf.d/99-pyshim.toml"
V2 = "io.containerd.grpc.v1.cri"
V3 = "io.containerd.cri.v1.runtime"
IMPORTS = 'imports = ["/etc/containerd/conf.d/*.toml"]\n'

KUBEADM = """\
# my node
version = 2

[plugins]
  # the kubelet's side
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "pause:3.9" # pinned
    [plugins."io.containerd.grpc.v1.cri".containerd]
      snapshotter = "overlayfs"
      default_runtime_name = "runc" # the default
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes]
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
          runtime_type = "io.containerd.runc.v2"
          base_runtime_spec = "/etc/containerd/base.json"
          pod_annotations = ["example.com/*"]
          [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
            SystemdCgroup = true
            BinaryName = "/opt/runc"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/opt/containerd"

[debug]
  level = "info" # someone's
"""
SPREAD = """\
version = 2
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[debug]
  level = "info"
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = true
"""
DOTTED = """\
version = 2
plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options.SystemdCgroup = true
[grpc]
  gid = 0
"""
DEBIAN = """\
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
"""
TWO_DOT_X = """\
version = 3
[plugins.'io.containerd.cri.v1.runtime'.containerd]
  default_runtime_name = 'runc'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
  sandboxer = 'podsandbox'
  cgroup_writable = false
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  SystemdCgroup = true
"""
INLINE = """\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
containerd = { snapshotter = "native", runtimes = { runc = { runtime_type = "io.containerd.runc.v2", options = { SystemdCgroup = true } } } }
"""
EXAMPLES = [
    pytest.param(KUBEADM, id="nested tables"),
    pytest.param(SPREAD, id="tables out of order"),
    pytest.param(DOTTED, id="dotted keys"),
    pytest.param(DEBIAN, id="no runtimes"),
    pytest.param(TWO_DOT_X, id="version 3"),
    pytest.param("version = 2\n", id="only a version"),
]


def runtimes(machine: Machine, path: str = CONFIG, plugin: str = V2) -> dict[str, object]:
    found: dict[str, object] = find(machine.toml(path), "plugins", plugin, "containerd", "runtimes")
    return found


def test_runtime_has_the_settings_of_runc(machine: Machine) -> None:
    machine.write(CONFIG, KUBEADM)
    result = machine.configure("containerd")
    assert runtimes(machine)["pyshim"] == {
        "runtime_type": "io.containerd.runc.v2",
        "base_runtime_spec": "/etc/containerd/base.json",
        "container_annotations": ["cdi.k8s.io/*"],
        "options": {"SystemdCgroup": True, "BinaryName": PROGRAM},
    }
    assert "next: systemctl restart containerd" in result.output


def test_inline_tables_stay_inline(machine: Machine) -> None:
    machine.write(CONFIG, INLINE)
    machine.configure("containerd", "--set-as-default")
    assert runtimes(machine)["pyshim"]["options"] == {  # type: ignore[index]
        "SystemdCgroup": True,
        "BinaryName": PROGRAM,
    }
    once = machine.read(CONFIG)
    machine.configure("containerd", "--set-as-default")
    assert machine.read(CONFIG) == once
    machine.configure("containerd", "--remove")
    assert machine.toml(CONFIG) == tomlfile.plain(INLINE, CONFIG)


def test_pod_annotations_are_never_written(machine: Machine) -> None:
    machine.write(CONFIG, KUBEADM.replace("example.com/*", "cdi.k8s.io/*"))
    result = machine.configure("containerd")
    assert "pod_annotations" not in runtimes(machine)["pyshim"]  # type: ignore[operator]
    assert (
        "note: pod_annotations ['cdi.k8s.io/*'] of the runtime copied are left out" in result.output
    )


def test_version_3_has_another_plugin(machine: Machine) -> None:
    machine.write(CONFIG, TWO_DOT_X)
    machine.configure("containerd", "--set-as-default", "--enable-cdi")
    plugin = machine.toml(CONFIG)["plugins"][V3]
    assert plugin["containerd"]["runtimes"]["pyshim"] == {
        "runtime_type": "io.containerd.runc.v2",
        "sandboxer": "podsandbox",
        "container_annotations": ["cdi.k8s.io/*"],
        "options": {"SystemdCgroup": True, "BinaryName": PROGRAM},
    }
    assert plugin["containerd"]["default_runtime_name"] == "pyshim"
    assert plugin["enable_cdi"] is True


def test_version_4_is_of_a_containerd_that_always_applies_cdi(machine: Machine) -> None:
    machine.write(CONFIG, TWO_DOT_X.replace("version = 3", "version = 4"))
    result = machine.configure("containerd", "--enable-cdi")
    plugin = machine.toml(CONFIG)["plugins"][V3]
    assert "enable_cdi" not in plugin
    assert plugin["containerd"]["runtimes"]["pyshim"]["options"]["BinaryName"] == PROGRAM
    assert "note: containerd 2.4 applies CDI itself, always" in result.output


def test_no_file(machine: Machine) -> None:
    machine.configure("containerd")
    assert machine.toml(CONFIG) == {
        "version": 2,
        "plugins": {
            V2: {
                "containerd": {
                    "runtimes": {
                        "pyshim": {
                            "runtime_type": "io.containerd.runc.v2",
                            "container_annotations": ["cdi.k8s.io/*"],
                            "options": {"BinaryName": PROGRAM},
                        },
                        "runc": {"runtime_type": "io.containerd.runc.v2"},
                    }
                }
            }
        },
    }
    machine.configure("containerd", "--remove")
    assert not machine.exists(CONFIG)


@pytest.mark.parametrize("text", ["", "# nothing yet\n"], ids=["empty", "comment"])
def test_a_file_that_says_nothing_gets_a_version(machine: Machine, text: str) -> None:
    """Without one containerd 1.x reads it as version 1, with other names of plugins."""
    machine.write(CONFIG, text)
    machine.configure("containerd")
    assert machine.toml(CONFIG)["version"] == 2
    assert machine.read(CONFIG).startswith(text)


@pytest.mark.parametrize(
    "options", [[], ["--set-as-default"], ["--enable-cdi", "--set-as-default"]]
)
@pytest.mark.parametrize("text", EXAMPLES)
def test_twice_changes_nothing(machine: Machine, text: str, options: list[str]) -> None:
    machine.write(CONFIG, text)
    machine.configure("containerd", *options)
    once = machine.files()
    result = machine.configure("containerd", *options)
    assert machine.files() == once
    assert result.stdout == f"{CONFIG} is as wanted\n"


@pytest.mark.parametrize("text", EXAMPLES)
def test_everything_else_stays(machine: Machine, text: str) -> None:
    machine.write(CONFIG, text)
    machine.configure("containerd", "--set-as-default", "--enable-cdi")
    after = machine.read(CONFIG).splitlines()
    changed = 'default_runtime_name = "pyshim" # pyshim: was'
    for line in text.splitlines():
        kept = line in after or ("default_runtime_name" in line and changed in machine.read(CONFIG))
        assert kept, line


@pytest.mark.parametrize("text", EXAMPLES)
def test_remove_brings_everything_back(machine: Machine, text: str) -> None:
    machine.write(CONFIG, text)
    machine.configure("containerd", "--set-as-default", "--enable-cdi")
    machine.configure("containerd", "--remove")
    if text == DOTTED:  # tomlkit moves blank lines
        text = text.replace("version = 2\n", "version = 2\n\n\n")
    assert machine.read(CONFIG) == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        pytest.param(DEBIAN, True, id="no runtimes"),
        pytest.param(KUBEADM, False, id="runc"),
        pytest.param(KUBEADM.replace(".runc", ".crun"), True, id="others, no runc"),
        pytest.param(TWO_DOT_X.replace(".runc", ".crun"), False, id="2.x keeps its own"),
    ],
)
def test_the_built_in_runc_is_named_where_a_table_would_replace_it(
    machine: Machine, text: str, *, written: bool
) -> None:
    machine.write(CONFIG, text)
    machine.configure("containerd")
    line = 'runtime_type = "io.containerd.runc.v2" # pyshim: was not there'
    assert (line in machine.read(CONFIG)) is written


def test_runc_stays_where_a_user_built_on_it(machine: Machine) -> None:
    machine.write(CONFIG, DEBIAN)
    machine.configure("containerd")
    options = f'[plugins."{V2}".containerd.runtimes.runc.options]\nSystemdCgroup = true\n'
    machine.write(CONFIG, machine.read(CONFIG) + options)
    machine.configure("containerd", "--remove")
    assert runtimes(machine) == {
        "runc": {"runtime_type": "io.containerd.runc.v2", "options": {"SystemdCgroup": True}}
    }


def test_without_the_flag_the_default_comes_back(machine: Machine) -> None:
    machine.write(CONFIG, KUBEADM)
    machine.configure("containerd", "--set-as-default")
    machine.configure("containerd")
    assert 'default_runtime_name = "runc" # the default' in machine.read(CONFIG)


def test_the_users_own_choice_is_not_undone(machine: Machine) -> None:
    machine.write(CONFIG, KUBEADM.replace("sandbox_image", "enable_cdi = true\n    sandbox_image"))
    machine.configure("containerd", "--enable-cdi")
    machine.configure("containerd", "--remove")
    assert find(machine.toml(CONFIG), "plugins", V2, "enable_cdi") is True


def test_what_a_user_added_to_the_runtime_stays(machine: Machine) -> None:
    machine.write(CONFIG, KUBEADM)
    machine.configure("containerd")
    text = machine.read(CONFIG).replace(
        f'BinaryName = "{PROGRAM}"', f'BinaryName = "{PROGRAM}"\nNoPivotRoot = true # ramdisk'
    )
    machine.write(CONFIG, text)
    machine.configure("containerd")
    assert machine.read(CONFIG) == text


def test_drop_in_where_nobody_else_has_the_plugin(machine: Machine) -> None:
    machine.write(CONFIG, f"version = 2\n{IMPORTS}")
    machine.configure("containerd", "--set-as-default", "--enable-cdi")
    assert machine.read(CONFIG) == f"version = 2\n{IMPORTS}"
    tree = machine.toml(DROP_IN)
    assert tree["version"] == 2
    assert tree["plugins"][V2]["containerd"]["default_runtime_name"] == "pyshim"
    assert tree["plugins"][V2]["enable_cdi"] is True
    assert runtimes(machine, DROP_IN)["pyshim"]
    machine.configure("containerd", "--remove")
    assert not machine.exists(DROP_IN)


def test_drop_in_for_version_3_copies_what_the_main_file_says(machine: Machine) -> None:
    machine.write(CONFIG, TWO_DOT_X.replace("version = 3\n", f"version = 3\n{IMPORTS}"))
    before = machine.read(CONFIG)
    machine.configure("containerd")
    assert machine.read(CONFIG) == before
    assert runtimes(machine, DROP_IN, V3) == {
        "pyshim": {
            "runtime_type": "io.containerd.runc.v2",
            "sandboxer": "podsandbox",
            "container_annotations": ["cdi.k8s.io/*"],
            "options": {"SystemdCgroup": True, "BinaryName": PROGRAM},
        }
    }
    assert machine.toml(DROP_IN)["version"] == 3


def test_containerd_1_would_forget_the_main_file_so_it_is_edited(machine: Machine) -> None:
    machine.write(CONFIG, KUBEADM.replace("version = 2\n", f"version = 2\n{IMPORTS}"))
    machine.configure("containerd")
    assert not machine.exists(DROP_IN)
    assert runtimes(machine)["pyshim"]


OTHERS = "/etc/containerd/conf.d/99-nvidia.toml"
GENERATED = f"""\
version = 2
[plugins."{V2}".containerd]
default_runtime_name = "nvidia"
[plugins."{V2}".containerd.runtimes.nvidia]
runtime_type = "io.containerd.runc.v2"
options = {{BinaryName = "/usr/bin/nvidia-container-runtime"}}
[plugins."{V2}".registry.configs."example.com".auth]
password = "secret"
"""


@pytest.mark.parametrize(
    "imports",
    [
        pytest.param(IMPORTS, id="by pattern"),
        pytest.param(f'imports = [ "{OTHERS}" ] # one\n', id="by name"),
    ],
)
def test_another_tools_drop_in_is_repeated_and_not_edited(machine: Machine, imports: str) -> None:
    """Containerd 1.x takes the table from the last file, and a generated one is written anew."""
    machine.write(CONFIG, KUBEADM.replace("version = 2\n", f"version = 2\n{imports}"))
    machine.write(OTHERS, GENERATED)
    before = machine.files()
    result = machine.configure("containerd", "--set-as-default")
    assert machine.read(OTHERS) == GENERATED
    assert machine.toml(CONFIG)["imports"][-1] in ("/etc/containerd/conf.d/*.toml", DROP_IN)
    table = machine.toml(DROP_IN)["plugins"][V2]
    assert table["registry"]["configs"]["example.com"]["auth"] == {"password": "secret"}
    assert table["containerd"]["default_runtime_name"] == "pyshim"
    assert set(table["containerd"]["runtimes"]) == {"nvidia", "runc", "pyshim"}
    assert (machine.root / DROP_IN[1:]).stat().st_mode & 0o777 == 0o600
    assert (
        f"note: containerd 1.x takes the CRI plugin's settings from the last file alone, so"
        f" {DROP_IN} repeats those of {OTHERS}: configure again when they change\n"
    ) in result.stderr
    once = machine.files()
    machine.configure("containerd", "--set-as-default")
    assert machine.files() == once
    machine.configure("containerd", "--remove")
    assert machine.files() == before


def test_runc_of_an_earlier_file_is_the_model_when_the_last_has_none(machine: Machine) -> None:
    """2.x merges files of version 2, too; and the kubelet's cgroup driver is the node's."""
    machine.write(CONFIG, KUBEADM.replace("version = 2\n", f"version = 2\n{IMPORTS}"))
    machine.write(
        OTHERS,
        f'version = 2\n[plugins."{V2}".containerd.runtimes.other]\n'
        'runtime_type = "io.containerd.other.v1"\n',
    )
    machine.configure("containerd")
    assert runtimes(machine, DROP_IN)["pyshim"]["options"] == {  # type: ignore[index]
        "SystemdCgroup": True,
        "BinaryName": PROGRAM,
    }


def test_files_of_different_versions(machine: Machine) -> None:
    """Containerd 2.x brings each to its own version before it merges them."""
    machine.write(CONFIG, f"version = 4\n{IMPORTS}")
    machine.write(OTHERS, KUBEADM)
    before = machine.files()
    machine.configure("containerd")
    assert runtimes(machine, DROP_IN, V3)["pyshim"]["options"] == {  # type: ignore[index]
        "SystemdCgroup": True,
        "BinaryName": PROGRAM,
    }
    machine.write(OTHERS, machine.read(OTHERS).replace("runtimes.runc", "runtimes.pyshim"))
    machine.configure("containerd", "--remove")
    assert not machine.exists(DROP_IN)
    assert "pyshim" not in machine.read(OTHERS)
    machine.write(OTHERS, KUBEADM)
    assert machine.files() == before


def test_a_runtime_pyshim_might_not_find_is_told(machine: Machine) -> None:
    machine.write(CONFIG, KUBEADM)
    assert machine.configure("containerd").stderr.splitlines()[0] == (
        "note: containerd's own runtime is /opt/runc: if it is not in PATH, make it the first of"
        " 'runtimes' in /etc/pyshim/config.toml"
    )


@pytest.mark.parametrize(
    "value",
    [
        "7",
        '"x"',
        "[]",
        "true",
        "{}",
        "{runc = 1}",
        "{runc = {options = 1}}",
        '{runc = {container_annotations = "x"}}',
    ],
)
@pytest.mark.parametrize(
    "key",
    [
        "plugins",
        f'plugins."{V2}"',
        f'plugins."{V2}".containerd',
        f'plugins."{V2}".containerd.runtimes',
        "version",
        "imports",
    ],
)
def test_odd_values_are_an_error_or_none_of_ours(machine: Machine, key: str, value: str) -> None:
    version = "" if key == "version" else "version = 2\n"
    machine.write(CONFIG, f"{version}{key} = {value}\n")
    before = machine.read(CONFIG)
    result = machine.call("configure", "containerd", "--set-as-default", "--enable-cdi")
    assert isinstance(result.exception, (SystemExit, type(None))), result.exception
    if result.exit_code == 0:
        assert runtimes(machine)["pyshim"]["options"]["BinaryName"] == PROGRAM  # type: ignore[index]
    else:
        assert result.stderr.startswith(f"pyshimctl: {CONFIG}: ")
        assert machine.read(CONFIG) == before


def test_our_drop_in_goes_when_it_would_hide_another_file(machine: Machine) -> None:
    machine.write(CONFIG, f"version = 2\n{IMPORTS}")
    machine.configure("containerd")
    machine.write(CONFIG, KUBEADM.replace("version = 2\n", f"version = 2\n{IMPORTS}"))
    machine.configure("containerd")
    assert not machine.exists(DROP_IN)
    assert runtimes(machine)["pyshim"]


def test_drop_in_asked_for_repeats_the_main_file(machine: Machine) -> None:
    machine.write(CONFIG, KUBEADM)
    own = "/etc/containerd/own.toml"
    machine.configure("containerd", "--drop-in", own)
    assert machine.toml(CONFIG)["imports"] == [own]
    assert machine.toml(own)["plugins"][V2]["sandbox_image"] == "pause:3.9"
    machine.configure("containerd", "--drop-in", own, "--remove")
    assert (machine.read(CONFIG), machine.exists(own)) == (KUBEADM, False)


@pytest.mark.parametrize("listed", ["cri", V2, V3])
def test_a_cri_that_is_switched_off_is_told(machine: Machine, listed: str) -> None:
    machine.write(CONFIG, f'version = 2\ndisabled_plugins = ["{listed}"]\n')
    assert machine.configure("containerd").stderr == (
        f"note: disabled_plugins has '{listed}': without the CRI no pod is started; take it"
        f" out in {CONFIG}\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('disabled_plugins = ["cri"]\n', id="Docker's package"),
        pytest.param('version = 1\n[plugins.cri]\nsandbox_image = "pause:3.6"\n', id="named"),
        pytest.param("version = 0\noom_score = 0\n", id="0 stands for 1"),
        pytest.param("[plugins.cri.containerd.runtimes.runc]\n", id="unnamed"),
    ],
)
def test_version_1_stays_version_1(machine: Machine, text: str) -> None:
    """Later ones refuse its short names of plugins: `invalid disabled plugin URI "cri"`."""
    machine.write(CONFIG, text)
    notes = machine.configure("containerd").stderr
    tree = machine.toml(CONFIG)
    assert "pyshim" in tree["plugins"]["cri"]["containerd"]["runtimes"]
    assert tree.get("version", 1) < 2
    assert ("take it out in" in notes) == ("disabled" in text)
    machine.configure("containerd", "--remove")
    assert machine.read(CONFIG) == text


def test_nothing_to_remove_of_dockers_file(machine: Machine) -> None:
    machine.write(CONFIG, 'disabled_plugins = ["cri"]\n')
    assert machine.configure("containerd", "--remove").stdout == "nothing to remove\n"


def test_annotation_prefixes_of_pyshims_configuration(machine: Machine) -> None:
    machine.write("/etc/pyshim/config.toml", '[cdi]\nannotation_prefixes = ["example.com/cdi-"]\n')
    machine.configure("containerd")
    assert runtimes(machine)["pyshim"]["container_annotations"] == ["example.com/cdi-*"]  # type: ignore[index]


def test_dry_run_is_a_diff_and_changes_nothing(machine: Machine) -> None:
    machine.write(CONFIG, "version = 2\n")
    before = machine.files()
    result = machine.configure("containerd", "--dry-run")
    assert machine.files() == before
    assert result.output.startswith(
        f"--- {CONFIG}\n+++ {CONFIG}\n@@ -1 +1,11 @@\n version = 2\n+\n"
        f'+[plugins."{V2}".containerd.runtimes.pyshim]\n'
    )


def test_json_report(machine: Machine) -> None:
    report = json.loads(machine.configure("containerd", "--json").stdout)
    assert (report["engine"], report["changed"], report["dry_run"]) == ("containerd", True, False)
    assert [(file["path"], file["action"]) for file in report["files"]] == [(CONFIG, "create")]
    assert report["next"] == "systemctl restart containerd"
    again = json.loads(machine.configure("containerd", "--json").stdout)
    assert (again["changed"], again["files"], again["next"]) == (False, [], "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "version = 5\n",
            f"{CONFIG}: 'version' is 5, and 1 to 4 are supported\n",
            id="version 5",
        ),
        pytest.param(
            'version = "2"\n',
            f"{CONFIG}: expected integer, found string in 'version'\n",
            id="a version in quotes",
        ),
        pytest.param("version = 2\nx\n", f"{CONFIG}: not valid TOML: ", id="not TOML"),
        pytest.param(
            'version = 2\nimports = "x"\n',
            f"{CONFIG}: expected array of strings in 'imports'",
            id="imports",
        ),
        pytest.param(
            f'version = 2\n[plugins."{V2}"]\ncontainerd = 7\n',
            f"{CONFIG}: expected table in 'plugins.{V2}.containerd",
            id="not a table",
        ),
    ],
)
def test_what_cannot_be_edited_is_named(machine: Machine, text: str, message: str) -> None:
    machine.write(CONFIG, text)
    before = machine.files()
    result = machine.call("configure", "containerd")
    assert result.exit_code == 1
    assert result.output.startswith(f"pyshimctl: {message}")
    assert machine.files() == before


def test_mode_and_owner_stay_and_a_link_stays_a_link(machine: Machine) -> None:
    file = machine.write("/nix/store/config.toml", "version = 2\n")
    file.chmod(0o640)
    (machine.root / "etc/containerd").mkdir(parents=True)
    (machine.root / CONFIG[1:]).symlink_to("/nix/store/config.toml")
    machine.configure("containerd")
    assert (machine.root / CONFIG[1:]).is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert (
        "pyshim" in machine.toml("/nix/store/config.toml")["plugins"][V2]["containerd"]["runtimes"]
    )


def test_program_must_be_there(machine: Machine) -> None:
    result = machine.call("configure", "containerd", "--runtime-path", "/opt/pyshim")
    assert result.exit_code == 1
    assert result.output == (
        "pyshimctl: /opt/pyshim: no such program\n"
        "hint: run 'pyshimctl install', or name one: --runtime-path\n"
    )


@pytest.mark.parametrize(
    ("pattern", "path", "is_read"),
    [
        ("/etc/containerd/*/*.toml", "/etc/containerd/cloud/cri.toml", True),
        ("/etc/containerd/[a-d]*/?.toml", "/etc/containerd/cloud/x.toml", True),
        ("/etc/containerd/c*/c*/*.toml", "/etc/containerd/cloud/cri/x.toml", True),
        ("/etc/containerd/cloud/*", "/etc/containerd/cloud/.x.toml", True),
        ("/etc/containerd/cloud/[^y]*.toml", "/etc/containerd/cloud/x.toml", True),
        # Of a relative pattern 1.x looks in its working directory, / under systemd (seen, 1.6.20).
        ("cloud/*", "/etc/containerd/cloud/x.toml", False),
        ("etc/containerd/cloud/*", "/etc/containerd/cloud/x.toml", True),
        ("cloud/x.toml", "/etc/containerd/cloud/x.toml", True),
        ("/etc/containerd/*.toml", "/etc/containerd/cloud/x.toml", False),
        ("/etc/containerd/c?.toml", "/etc/containerd/ci.toml", False),
    ],
)
def test_patterns_of_imports_are_gos(
    machine: Machine, pattern: str, path: str, *, is_read: bool
) -> None:
    """1.x takes the plugin's table from the last file alone: ours has to repeat it."""
    machine.write(CONFIG, f'version = 2\nimports = ["{pattern}"]\n')
    machine.write(path, f'version = 2\n[plugins."{V2}"]\nsandbox_image = "pause"\n')
    machine.configure("containerd")
    ours = next(path for path, text in machine.files().items() if "BinaryName" in text)
    assert (find(machine.toml(ours), "plugins", V2, "sandbox_image") == "pause") is is_read


def test_a_relative_pattern_is_told_where_1x_looks(machine: Machine) -> None:
    """Ours goes where it is read."""
    machine.write(CONFIG, 'version = 2\nimports = ["conf.d/*.toml"]\n')
    output = machine.configure("containerd").output
    assert "does not look for 'conf.d/*.toml' beside /etc/containerd/config.toml" in output
    assert "write '/etc/containerd/conf.d/*.toml' there if it is meant" in output
    assert find(machine.toml(CONFIG), "plugins", V2, "containerd", "runtimes", "pyshim")
    machine.write(CONFIG, 'version = 3\nimports = ["conf.d/*.toml"]\n')
    assert "does not look for" not in machine.configure("containerd").output


def test_a_drop_in_that_no_pattern_matches_is_imported(machine: Machine) -> None:
    """Nothing in a pattern stands for a slash."""
    machine.write(CONFIG, 'version = 3\nimports = ["/etc/containerd/c*pyshim.toml"]\n')
    machine.configure("containerd", "--drop-in", DROP_IN)
    assert DROP_IN in machine.toml(CONFIG)["imports"]


@pytest.mark.parametrize("name", ["runc", "kata"])
@pytest.mark.parametrize(("version", "plugin"), [(2, V2), (3, V3)])
def test_a_runtime_of_that_name_which_is_not_pyshim(
    machine: Machine, version: int, plugin: str, name: str
) -> None:
    """It would be overwritten, and be gone with --remove, its SystemdCgroup with it."""
    table = f'[plugins."{plugin}".containerd.runtimes.{name}]\nruntime_type = "x"\n'
    options = f'[plugins."{plugin}".containerd.runtimes.{name}.options]\nSystemdCgroup = true\n'
    machine.write(CONFIG, f"version = {version}\n{table}{options}")
    before = machine.files()
    result = machine.call("configure", "containerd", "--runtime-name", name)
    assert (result.exit_code, result.stderr) == (
        1,
        (
            f"pyshimctl: {CONFIG} has a runtime '{name}' that is not pyshim\n"
            "hint: name another by --runtime-name;"
            " --set-as-default makes it the one of every pod\n"
        ),
    )
    result = machine.configure("containerd", "--runtime-name", name, "--remove")
    assert result.stderr == f"note: {CONFIG}: '{name}' is not pyshim, and stays\n"
    assert machine.files() == before


def test_a_drop_in_leaves_a_runtime_of_that_name_which_is_not_pyshim(machine: Machine) -> None:
    table = f'[plugins."{V3}".containerd.runtimes.runc]\nruntime_type = "x"\n'
    machine.write(CONFIG, f"version = 3\n{IMPORTS}{table}")
    before = machine.files()
    machine.configure("containerd", "--runtime-name", "runc")
    assert machine.read(CONFIG) == before[CONFIG]
    assert "BinaryName" in machine.read(DROP_IN)
    machine.configure("containerd", "--runtime-name", "runc", "--remove")
    assert machine.files() == before
