"""Stateful filter rules, aliases, and what a firewall passes by itself."""
