"""Logical interfaces: names bound to devices, addresses, VLANs and static routes."""
