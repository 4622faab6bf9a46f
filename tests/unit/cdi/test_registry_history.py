"""Any history of files and of harm to the cache: the registry with it and without it are equal."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocishim.cache import Cache
from ocishim.cdi.registry import registry
from tests.specdirs import SpecDirs, spec

if TYPE_CHECKING:
    from pathlib import Path


names = st.sampled_from(["a.yaml", "b.yaml", "c.json", "ignored.txt"])
places = st.tuples(st.sampled_from(["etc", "run"]), names).map("/".join)
contents = st.sampled_from(
    [
        *(spec("acme.com/gpu", *ds, env=e) for ds in ("0", "1", "01") for e in ("", "x", "y")),
        "not a spec",
        "",
    ]
)
steps = st.one_of(
    st.tuples(st.just("write"), places, contents),
    st.tuples(st.just("in place"), places, contents),
    st.tuples(st.just("remove"), places, st.none()),
    st.tuples(st.just("touch"), places, st.integers(0, 1 << 33)),
    st.tuples(st.just("move"), places, places),
    st.tuples(st.just("harm"), st.integers(0, 9), st.integers(0, 4000)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=25))
def test_whatever_happens_the_cache_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, object, object]]
) -> None:
    root = tmp_path_factory.mktemp("history")
    dirs, cache = SpecDirs(root), Cache(str(root / "cache"))
    for what, where, argument in history:
        _happen(root, what, where, argument)
        cached, plain = registry.load(dirs.paths, cache), registry.load(dirs.paths, None)
        assert _everything(cached) == _everything(plain)


def _happen(root: Path, what: str, where: object, argument: object) -> None:
    path = root / str(where)
    try:
        if what == "write":
            (root / "new").write_text(str(argument))
            os.rename(root / "new", path)
        elif what == "in place":
            path.write_text(str(argument))
        elif what == "remove":
            path.unlink()
        elif what == "touch":
            os.utime(path, (int(str(argument)), int(str(argument))))
        elif what == "move":
            os.rename(path, root / str(argument))
        else:
            entries = sorted((root / "cache").iterdir())
            os.truncate(entries[int(str(where)) % len(entries)], int(str(argument)))
    except (FileNotFoundError, ZeroDivisionError):
        pass  # nothing to remove, touch, move or harm yet


def _everything(loaded: registry.Registry) -> str:
    devices = loaded.devices()
    found = [[f.name, f.path, f.common, f.edits] for f in loaded.resolve(devices)]
    errors = {path: [e.message for e in es] for path, es in loaded.load_errors.items()}
    return json.dumps([devices, found, errors])
