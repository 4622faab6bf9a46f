"""Changes to text files of others, TOML above all: decided first, shown, made by one rename.

What is to stand there is for engines/ and config/ to say.
"""
