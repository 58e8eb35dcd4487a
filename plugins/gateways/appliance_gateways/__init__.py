"""Gateways: monitored routers on the WANs, groups that balance between them, and routing by policy."""
