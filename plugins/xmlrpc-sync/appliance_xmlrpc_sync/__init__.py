"""Keeps the shared configuration of a cluster the same on all nodes, by XML-RPC between paired nodes."""
