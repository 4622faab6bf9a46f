"""The hook program and one module per hook; most run in the container's mount namespace.

Which hooks a container gets is decided in hookplan/; paths of an image are rootfs/'s.
"""
