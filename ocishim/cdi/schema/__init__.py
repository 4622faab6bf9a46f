"""JSON Schema files of the CDI specification, one per version that differs."""
