"""`pyshimctl cdi generate`: CDI specs from what a host has.

One finder of libraries, programs and nodes, which doctor asks too; what becomes of a spec that is
written is cdi's.
"""
