"""What the cases stand on: isolation, a lab for bundles and specs, and reports."""
