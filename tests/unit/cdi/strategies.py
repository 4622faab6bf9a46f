"""Hypothesis strategies: valid CDI specs, OCI specs as engines and people write them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

# Few values, so that edits meet each other and what is there already.
PATHS = st.sampled_from(["/dev/a", "/dev/b", "/dev/null", "/dev//null", "/x", "/x/", "rel", "/"])
WORDS = st.sampled_from(["", "a", "b", "A=1", "A=2", "A", "B=", "no", "é"])
ENV = st.lists(st.sampled_from(["A=1", "A=2", "A=", "B=1", "PATH=/bin", "é=ü"]), max_size=3)
IDS = st.integers(0, 3)
OPTIONS = st.lists(
    st.sampled_from(["ro", "bind", "rbind", "idmap", "ridmap", "nosuid"]), max_size=3
)


def objects(
    required: dict[str, Any], optional: dict[str, Any]
) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


NODES = objects(
    {"path": PATHS, "type": st.sampled_from(["c", "b", "p", "u"]), "major": st.integers(1, 2)},
    {
        "minor": IDS,
        "fileMode": IDS,
        "uid": IDS,
        "gid": IDS,
        "hostPath": PATHS,
        "permissions": st.sampled_from(["", "r", "rwm", "none"]),
    },
)
MOUNTS = objects(
    {"hostPath": PATHS, "containerPath": PATHS},
    {"options": OPTIONS, "type": st.sampled_from(["", "bind", "tmpfs"])},
)
HOOKS = objects(
    {"hookName": st.sampled_from(["createContainer", "poststop"]), "path": PATHS},
    {"args": st.lists(WORDS, max_size=2), "env": ENV, "timeout": st.integers(-1, 2)},
)
NET_DEVICES = st.lists(
    objects({"hostInterfaceName": st.sampled_from("hij"), "name": st.sampled_from("abc")}, {}),
    max_size=2,
    unique_by=(lambda d: d["hostInterfaceName"], lambda d: d["name"]),
)
RDT = objects(
    {},
    {
        "closID": st.sampled_from(["", "c", "/"]),
        "schemata": st.lists(WORDS, max_size=1),
        "enableMonitoring": st.booleans(),
    },
)
EDITS = objects(
    {},
    {
        "env": ENV,
        "deviceNodes": st.lists(NODES, max_size=3),
        "mounts": st.lists(MOUNTS, max_size=3),
        "hooks": st.lists(HOOKS, max_size=2),
        "netDevices": NET_DEVICES,
        "intelRdt": RDT,
        "additionalGids": st.lists(IDS, max_size=2),
    },
)
DEVICE_NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.:-]{0,6}[A-Za-z0-9])?", fullmatch=True)
KIND_PARTS = st.from_regex(r"[A-Za-z]([A-Za-z0-9_.-]{0,6}[A-Za-z0-9])?", fullmatch=True)


@st.composite
def cdi_specs(draw: st.DrawFn) -> dict[str, Any]:
    """A CDI spec the reference accepts."""
    devices: list[dict[str, Any]] = [
        {"name": name, "containerEdits": {"env": ["DEVICE=" + name], **draw(EDITS)}}
        for name in draw(st.lists(DEVICE_NAMES, min_size=1, max_size=3, unique=True))
    ]
    for device in devices:
        device["containerEdits"]["env"] = ["DEVICE=" + device["name"], *draw(ENV)]
    kind = draw(KIND_PARTS) + "/" + draw(KIND_PARTS)
    common = draw(EDITS)
    return {"cdiVersion": "1.1.0", "kind": kind, "devices": devices, "containerEdits": common}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
# Properties no specification knows; they must come out as they went in.
UNKNOWN = st.dictionaries(st.sampled_from(["x-a", "x-b"]), VALUES, max_size=2)


def with_unknown(known: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda a, b: {**a, **b}, known, UNKNOWN)


def or_null(known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | known


OCI_HOOKS = with_unknown(
    objects({"path": PATHS}, {"args": st.lists(WORDS, max_size=2), "env": ENV})
)
OCI_MOUNTS = with_unknown(
    objects({"destination": PATHS}, {"source": PATHS, "options": or_null(OPTIONS), "type": WORDS})
)
OCI_DEVICES = with_unknown(
    objects({"path": PATHS, "type": st.just("c")}, {"major": IDS, "minor": IDS, "uid": IDS})
)
OCI_RULES = with_unknown(
    objects(
        {"allow": st.booleans()}, {"type": st.just("c"), "major": IDS, "access": st.just("rwm")}
    )
)
OCI_SPECS = with_unknown(
    objects(
        {},
        {
            "process": or_null(
                with_unknown(
                    objects(
                        {},
                        {
                            "env": or_null(st.lists(WORDS, max_size=4)),
                            "user": or_null(
                                objects(
                                    {}, {"uid": IDS, "gid": IDS, "additionalGids": st.lists(IDS)}
                                )
                            ),
                        },
                    )
                )
            ),
            "mounts": or_null(st.lists(OCI_MOUNTS, max_size=4)),
            "hooks": or_null(
                with_unknown(objects({}, {"createContainer": st.lists(OCI_HOOKS, max_size=3)}))
            ),
            "linux": or_null(
                with_unknown(
                    objects(
                        {},
                        {
                            "devices": or_null(st.lists(OCI_DEVICES, max_size=3)),
                            "resources": or_null(objects({}, {"devices": st.lists(OCI_RULES)})),
                            "namespaces": st.lists(
                                objects({"type": st.sampled_from(["pid", "user"])}, {}), max_size=2
                            ),
                            "intelRdt": or_null(RDT),
                            "netDevices": objects({}, {"h": st.just({"name": "z"})}),
                        },
                    )
                )
            ),
        },
    )
)
