"""Runtimes that are wrong in one way each, to prove that the cases can fail."""
