"""`pyshimctl install`, `uninstall` and `daemonset`: pyshim's file on a node, versions side by side.

Engines are told by `configure`.
"""
