"""The OCI runtime-spec: bundle, spec, state, each change to them, and the hooks pyshim has by name.

What a CDI spec says, and which changes it means, is cdi/'s.
"""
