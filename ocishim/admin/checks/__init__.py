"""The doctor's checks: one module a subject, each with check(node) -> findings.

The order, the summary and the words on the screen are doctor.py's.
"""
