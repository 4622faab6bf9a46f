"""The doctor's checks: one module a subject, each with check(node) -> findings."""
