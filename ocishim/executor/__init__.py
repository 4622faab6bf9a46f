"""Hooks run by pyshim itself, for low-level runtimes that do not: process, root, order, limits.

Whether it is needed is decided in lowlevel/ and hookplan/.
"""
