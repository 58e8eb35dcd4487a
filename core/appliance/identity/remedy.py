"""What to do about a node that is not paired. Every part that waits for it says it in the same words."""

PAIR = "Pair the nodes: 'appliance pair --listen' on one, 'appliance pair ADDRESS --code CODE' on the other."
