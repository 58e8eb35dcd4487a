"""The wizard: from two answers per network to the configurations of both nodes.

`interview` asks, through one of the `askers` (a terminal, lines, a file); `answers` makes values of texts, `plan`
proposes addresses, `document` writes the two files. These are pure. `existing` takes defaults from a configuration,
`links` looks which device is which. It writes the tables of the bundled plugins as text and imports none of them.
"""
