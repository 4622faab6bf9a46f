"""The cases, one module an area; run.py imports them all."""
