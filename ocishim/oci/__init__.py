"""The OCI runtime-spec: bundle, spec and state. Does not know CDI."""
