"""Bootable images: built from a configuration and the chosen plugins, started in qemu, upgraded slot by slot."""
