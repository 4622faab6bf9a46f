"""The bytes of one CDI spec file to a parsed, validated, plain spec, as the reference reads them.

Where the file lies and whose device wins is the registry's business.
"""
