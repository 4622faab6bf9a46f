"""`pyshimctl cdi generate`: CDI specs from what a host has.

Whether a spec still fits its host is cdi/stale.py's question, and the doctor's.
"""
