"""pyshim's library: an OCI runtime shim that applies CDI and runs its hooks safely.

One package a subject; tests/test_layers.py has their order, each `__init__` what it is for.
"""

__version__ = "0.2.0"
