"""Instead of CPython's Modules/getpath.py, and run by its getpath.c.

That one looks for a library around the executable and in /usr/local; all that this interpreter
imports is in its own file, below which there is none of the machine's.
"""

_INSIDE = ("prefix", "exec_prefix", "base_prefix", "base_exec_prefix", "base_executable")
config.update(  # type: ignore[name-defined]  # noqa: F821
    dict.fromkeys(_INSIDE, "/proc/self/exe"),
    program_name="pyshim", platlibdir="lib", module_search_paths=[], module_search_paths_set=1,
)  # fmt: skip
