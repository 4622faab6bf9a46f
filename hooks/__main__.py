"""`python3 -I -S -m ocishim.hooks`: the hook program without its launcher."""

import sys

from ocishim.hooks.program import start

start(sys.argv[1:])
