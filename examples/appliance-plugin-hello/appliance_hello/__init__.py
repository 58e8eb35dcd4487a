"""The example plugin: greets new masters, and tells the other nodes about it."""
