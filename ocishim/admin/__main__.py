"""`python3 -m ocishim.admin`: pyshimctl, by its module."""

from ocishim.admin.cli import main

main(prog_name="pyshimctl")
