"""BSD's pfsync: version 5 of FreeBSD (formats 1301, 1400, 1500) and version 6 of OpenBSD. Knows no socket."""
