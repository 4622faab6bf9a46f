"""One `create`: the command line, who asks for devices, what becomes of config.json, the runtime.

How a change is made is oci/'s, what a device brings cdi/'s, what becomes of hooks hookplan/'s.
"""
