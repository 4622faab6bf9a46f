"""A node in miniature: bundles, driver roots and images, for the tests, the demo and the benchmark.

Leaves the engines to tests/integration, and never touches the host: see namespace.py.
"""
