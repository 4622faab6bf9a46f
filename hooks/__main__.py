"""`python3 -I -S -m hooks`: the hook program without its launcher."""

import sys

from hooks.program import start

start(sys.argv[1:])
