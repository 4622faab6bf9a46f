"""From spec files to the compiled registry: only what has changed is read, only news is parsed.

Three kinds of cache entry. The specs table has a record of each file: its identity, what it
defines, or what is wrong with it. A spec entry, named by a digest of the file's bytes, has the
edits device by device. The index, made from all records, answers for exactly one state of the
spec dirs. None of them has to be there, and no two have to fit together: each is checked by
itself when it is read (cache.py), so a process killed between two writes leaves nothing wrong.

Cold: runs when a file has changed. Who wins when two files define a device is index.py's rule.
"""

from __future__ import annotations

import time

from ocishim.cdi.registry import index, specfile
from ocishim.cdi.registry.entries import INDEX, code_state, dirs_name
from ocishim.cdi.registry.scan import stat_errno
from ocishim.cdi.registry.specrecord import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocishim.cache import Cache, Place
    from ocishim.cdi.registry.entries import Index, Parts
    from ocishim.cdi.registry.index import Known
    from ocishim.cdi.registry.scan import Scan

TABLE = "cdi-table-"
# Left-over entries of specs that are gone may be this many before they are removed.
_SPARE = 64
# No process writes an entry for longer than this many seconds.
_TEMPORARY_AGE = 60


class Compiled:
    """The index, what is known of each file, and the parts of those parsed just now, by number."""

    __slots__ = ("index", "known", "parsed")

    def __init__(self, known: Known, parsed: dict[int, Parts]) -> None:
        self.index: Index = index.compile_index(known)
        self.known = known
        self.parsed = parsed


def build(spec_dirs: list[str], found: Scan, cache: Cache | None) -> Compiled:
    """Compile the registry for what `scan` found, from the cache as far as it goes.

    Leaves what it learnt in `cache` for the next process, if it can.
    """
    now = time.time_ns()
    name = dirs_name(TABLE, spec_dirs)
    table: Any = (cache.get(name, code_state()) if cache is not None else None) or {}
    known: Known = []
    parsed: dict[int, Parts] = {}
    for number, (priority, path, identity) in enumerate(found.files()):
        data = table.get(path)
        before = Record(*data) if data else None
        if before is not None and before.identity == identity:
            record = before
        elif stat_errno(identity):
            record = specfile.stat_failed(path, identity)
        else:
            record, parts = specfile.read(path, before, now)
            if parts is not None:
                record.common_place, *record.device_places = put_parts(record.entry, parts, cache)
                parsed[number] = parts
        known.append((priority, path, record))
    compiled = Compiled(known, parsed)
    if cache is not None:
        _save(spec_dirs, found, compiled, table, cache)
    return compiled


def put_parts(entry: str, parts: Parts, cache: Cache | None) -> list[Place]:
    """Keep a spec's parts under their `entry`; the place of each, its own edits' first."""
    if cache is None:
        return [(0, 0)] * len(parts)
    return cache.put_all(entry, [((entry, name), part) for name, part in parts.items()])


def _save(
    spec_dirs: list[str], found: Scan, compiled: Compiled, table: dict[str, Any], cache: Cache
) -> None:
    records = {path: record.data() for _priority, path, record in compiled.known}
    if records != table:
        cache.put(dirs_name(TABLE, spec_dirs), code_state(), records)
        _prune(len(records), cache)
    # An index must not outlive a change it cannot see, nor speak of a state nobody has read.
    states = [identity for _priority, _path, identity in found.files()]
    if states == [record.identity for _priority, _path, record in compiled.known]:
        cache.put(dirs_name(INDEX, spec_dirs), (code_state(), found.key), compiled.index)


def _prune(used: int, cache: Cache) -> None:
    """Remove entries that no table speaks of, once there are many, and left-over files."""
    names = cache.names()
    for name in names:
        if name.endswith(".tmp") and not 0 <= cache.age(name) <= _TEMPORARY_AGE:
            cache.remove(name)
    entries = {name for name in names if name.startswith(specfile.ENTRY)}
    if len(entries) <= 2 * used + _SPARE:
        return
    for name in names:
        if name.startswith(TABLE):
            table: Any = cache.get(name, code_state()) or {}
            entries -= {data[1] for data in table.values()}
    for name in entries:
        cache.remove(name)
