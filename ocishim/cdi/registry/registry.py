"""The CDI devices of this host, looked up by name.

Warm, nothing is parsed and little is read: if the spec dirs look as they did when the registry
was compiled, one index answers which spec a name belongs to, and only the requested devices'
edits are unmarshalled. Everything else is compiled.py's work; why a name does not resolve is
told by unresolved.py, and what the edits do to an OCI spec is edits.py's business.
"""

from __future__ import annotations

from ocishim.cdi.registry.entries import INDEX, Found, code_state, dirs_name
from ocishim.cdi.registry.scan import scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocishim.cache import Cache, Place
    from ocishim.cdi.document.document import CDISpecError
    from ocishim.cdi.registry.entries import Edits, Index, Parts
    from ocishim.cdi.registry.index import Known
    from ocishim.cdi.registry.scan import Scan
    from ocishim.cdi.registry.unresolved import Sight


class Registry:
    """The devices that the reference would know after reading the same spec dirs."""

    __slots__ = ("_cache", "_devices", "_files", "_known", "_parsed", "found", "spec_dirs")

    def __init__(
        self, spec_dirs: list[str], found: Scan, index: Index, cache: Cache | None
    ) -> None:
        self.spec_dirs = spec_dirs
        self.found = found
        self._devices, self._files = index
        self._cache = cache
        self._parsed: dict[int, Parts] = {}
        self._known: Known | None = None

    @classmethod
    def build(cls, spec_dirs: list[str], found: Scan, cache: Cache | None) -> Registry:
        """The registry when the index does not answer for what was found."""
        from ocishim.cdi.registry import compiled  # noqa: PLC0415 - a spec file has changed

        built = compiled.build(spec_dirs, found, cache)
        registry = cls(spec_dirs, found, built.index, cache)
        registry._parsed = built.parsed
        registry._known = built.known
        return registry

    @property
    def known(self) -> Known:
        """(priority, path, record) of every spec file, in the order of reading."""
        if self._known is None:
            self._known = Registry.build(self.spec_dirs, self.found, self._cache).known
        return self._known

    @property
    def load_errors(self) -> dict[str, list[CDISpecError]]:
        """What was wrong with which spec file, in the reference's words; by path."""
        from ocishim.cdi.registry import loaderrors  # noqa: PLC0415 - people ask, containers don't

        return loaderrors.of(self.known)

    def devices(self) -> list[str]:
        """All resolvable qualified names, sorted."""
        lines = self._devices.decode().split("\n")
        return sorted(line.partition("\t")[0] for line in lines if line)

    def _sight(self) -> Sight:
        from ocishim.cdi.registry.unresolved import Sight  # noqa: PLC0415 - failure only

        return Sight(self.known, self.devices(), self.found, self.spec_dirs)

    def resolve(self, names: list[str]) -> list[Found]:
        """The devices of that name, in the order asked for, repeats kept.

        Raises UnresolvedDeviceError for all unknown names at once; it begins with the
        reference's sentence and goes on with the reasons.
        """
        where = {}
        for name in names:
            at = self._find(name)
            if at is not None:
                where[name] = at
        missing = [name for name in names if name not in where]
        if missing:
            from ocishim.cdi.registry import unresolved  # noqa: PLC0415 - failure only

            raise unresolved.error(self._sight(), missing)
        commons: dict[int, tuple[str, Edits]] = {}
        try:
            return [self._load(name, where[name], commons) for name in names]
        except _ChangedError:
            return load(self.spec_dirs, None).resolve(names)

    def _find(self, name: str) -> tuple[int, Place] | None:
        """The file's number, and the place of the device's edits in its cache entry."""
        number, offset, length = _line(self._devices, name) or ("", "", "")
        return (int(number), (int(offset), int(length))) if number else None

    def _load(
        self, name: str, at: tuple[int, Place], commons: dict[int, tuple[str, Edits]]
    ) -> Found:
        number, place = at
        entry, common_length = _line(self._files, str(number)) or ["", ""]
        if number not in commons:
            commons[number] = self._part(number, entry, "", (0, int(common_length)))
        cdi_version, common = commons[number]
        edits = self._part(number, entry, name.partition("=")[2], place)
        return Found(name, self.found.path(number), cdi_version, common, edits)

    def _part(self, number: int, entry: str, device: str, place: Place) -> Any:
        """One device's edits, or a spec's own (""): from the cache, else from the file."""
        if number not in self._parsed:
            if self._cache is not None:
                value = self._cache.get(entry, (entry, device), place)
                if value is not None:
                    return value
            self._parsed[number] = self._read_again(number, entry)
        return self._parsed[number][device]

    def _read_again(self, number: int, entry: str) -> Parts:
        """The parts of a file whose cache entry is lost or damaged. Raises _ChangedError."""
        from ocishim.cdi.registry import compiled, specfile  # noqa: PLC0415 - rare

        parts = specfile.read_parts(self.found.path(number), entry)
        if parts is None:
            raise _ChangedError
        compiled.put_parts(entry, parts, self._cache)
        return parts


def _line(table: bytes, first: str) -> list[str] | None:
    """What stands behind `first` in the table's line that begins with it."""
    if "\n" in first or "\t" in first:
        return None
    wanted = b"\n" + first.encode(errors="surrogatepass") + b"\t"
    start = table.find(wanted)
    if start < 0:
        return None
    start += len(wanted)
    return table[start : table.index(b"\n", start)].decode().split("\t")


class _ChangedError(Exception):
    """A spec file is no longer what the index was made from."""


def load(spec_dirs: list[str], cache: Cache | None) -> Registry:
    """The devices of the spec dirs (rising priority). Never raises for what lies in them.

    Without a `cache` every file is parsed. The Registry is a snapshot of this moment.
    """
    found = scan(spec_dirs)
    if cache is not None:
        index: Any = cache.get(dirs_name(INDEX, spec_dirs), (code_state(), found.key))
        if index is not None:
            return Registry(spec_dirs, found, index, cache)
    return Registry.build(spec_dirs, found, cache)
