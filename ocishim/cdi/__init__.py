"""The Container Device Interface: names, documents, edits (pure) and the registry (I/O)."""
