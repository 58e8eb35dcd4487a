"""The protocol between our own nodes: authenticated, in order, with bulk updates and audits. Knows no socket."""
