"""What the operator wrote: config.toml to settings, compiled, with where each comes from.

What the settings mean is for those who ask.
"""
