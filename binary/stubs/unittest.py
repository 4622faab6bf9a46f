"""What pyroute2 takes of it for its own tests' sake, where it is imported by all."""


class mock:  # noqa: N801 - as it is called
    """The module unittest.mock."""

    class Mock:
        """Stands in for a queue that nobody uses."""
