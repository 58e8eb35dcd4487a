"""The composition root: discovers plugins, supervises their services, applies configurations.

Importing this package costs nothing, because isolated services start from a module of it.
"""
