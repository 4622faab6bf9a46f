"""The kernel, thinly wrapped: the only place that uses ctypes."""
