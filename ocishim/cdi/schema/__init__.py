"""JSON Schema files of the CDI specification, one per version that differs.

For `pyshimctl cdi validate`: what a container gets is decided by document/.
"""
