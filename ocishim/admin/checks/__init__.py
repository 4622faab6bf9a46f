"""The doctor's checks: one module a subject, its checks functions of the node that yield findings.

The order, the summary and the words on the screen are doctor.py's.
"""
