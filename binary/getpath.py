"""Instead of CPython's Modules/getpath.py, and run by its getpath.c.

That one looks for a library around the executable and in /usr/local; all that this interpreter
imports is in its own file.
"""

config["module_search_paths"] = []  # type: ignore[name-defined]  # noqa: F821
config["module_search_paths_set"] = 1  # type: ignore[name-defined]  # noqa: F821
