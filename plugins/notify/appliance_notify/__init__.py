"""Tells people and programs elsewhere what happens on a node: by webhook, mail and syslog."""
