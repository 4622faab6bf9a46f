"""pyshimctl: everything a person runs. Cold; libraries are welcome."""
