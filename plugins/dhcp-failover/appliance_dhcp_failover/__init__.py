"""DHCP for the clients behind a pair of firewalls: every lease is on both nodes before a client hears of it."""
