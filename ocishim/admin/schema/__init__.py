"""JSON Schemas of what pyshimctl prints with --json, a file each. The values are the commands'."""
