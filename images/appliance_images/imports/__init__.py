"""Python in an image starts from one file: compiled modules, and what the classes in them would compile at each start.

`record` makes the file while an image is built, `archive` is its format, `finder` imports from it.
"""
