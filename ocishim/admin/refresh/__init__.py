"""`pyshimctl cdi refresh`: a spec that follows its driver, and the device nodes it needs.

What is in a spec is generate's; the units that call this are install's.
"""
