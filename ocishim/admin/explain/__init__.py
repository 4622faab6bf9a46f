"""`pyshimctl explain` and `what-if`: the story of a create, before it, after it, or without one.

What create does is ocishim/create's; here it is asked, found again by a container's name, and told.
"""
