"""The console shell: a client of the control socket for people, on a terminal, a serial line or a pipe.

Pure, and tested without a terminal: `words` (a line to words), `choices` and `commandline` (abbreviations and
completion of commands), `navigation` and `editor` (configuration mode), `pipes`, `pager`. What a terminal needs is in
`terminal`. The candidate configuration lives in the node (`appliance.host.editing`), so that no secret
leaves it.
"""
