"""pyroute2 with what pyshim takes of it alone; the rest of its own wants ctypes' structures."""

from pyroute2.iproute.linux import IPRoute as IPRoute
from pyroute2.iproute.linux import NetNS as NetNS
