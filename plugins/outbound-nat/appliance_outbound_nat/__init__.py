"""Translates addresses: outbound NAT that knows virtual hosts, one-to-one NAT and port forwards."""
