"""An image's tree by descriptor: every path of an image is read and written through here.

What is written there, and why, is the hooks' business.
"""
