"""JSON Schemas of what pyshimctl prints with --json, a file each. The rest is its commands'."""
