"""Replicates the kernel's connection-tracking table between the nodes of a cluster."""
