"""`pyshimctl config`: pyshim's own settings, shown, checked and changed as a file of people.

What they are and their defaults stands in settings/.
"""
