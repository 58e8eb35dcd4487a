"""CARP: virtual addresses that move between nodes."""
