"""JSON Schemas of what pyshimctl prints with --json, a file each. What they print is the commands'."""
