"""The kernel, thinly wrapped: the only place that uses ctypes.

One function a system call, no policy: what may be opened or mounted is for those above to say.
"""
