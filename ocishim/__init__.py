"""pyshim's library: an OCI runtime shim that applies CDI and runs its hooks safely."""

__version__ = "0.2.0"
