"""The console over SSH: Debian's sshd, one for each connection, for the users of the appliance and nobody else."""
