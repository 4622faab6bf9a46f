"""runc, crun, youki, runsc: found, asked once for version and features, become.

What they are asked to run is for create/ to say.
"""
