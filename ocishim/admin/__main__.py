"""`python3 -m ocishim.admin`: pyshimctl without its launcher."""

from ocishim.admin.cli import main

main(prog_name="pyshimctl")
