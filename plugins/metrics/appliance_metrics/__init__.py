"""The numbers of a node for Prometheus, at ``/metrics`` of the interfaces that an operator chooses."""
