"""Users of the appliance by name: passwords as hashes, and roles that the control socket and other nodes obey."""
