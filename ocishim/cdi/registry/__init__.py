"""From spec dirs to devices by name, through one compiled cache.

What a spec file says is read by document/; what a device brings, by edits.
"""
