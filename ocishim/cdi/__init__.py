"""The Container Device Interface: its names here, spec files and spec dirs below, then edits.

Who asks for a device is create/'s question, how config.json is changed oci/'s.
"""
