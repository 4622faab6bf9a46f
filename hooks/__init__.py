"""The hook program and one module per hook. Runs inside the container's mount namespace."""
