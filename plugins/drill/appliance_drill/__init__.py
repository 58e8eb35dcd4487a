"""Rehearsed failures of this node that are always put back: the part of a drill that changes something."""
