"""The fixture of a machine that has accounts and sshd."""

from tests.unit.plugins.ssh.doors import machine as machine
