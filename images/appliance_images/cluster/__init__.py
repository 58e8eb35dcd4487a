"""Upgrading two nodes, one after the other, from one of them."""
