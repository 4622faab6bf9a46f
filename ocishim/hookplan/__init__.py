"""What becomes of a container's hooks: known, hardened, fused, skipped, by whom run.

Decides; the changes are oci/'s, and hooks/ or executor/ do the work.
"""
