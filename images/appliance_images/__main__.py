"""The commands `image …` alone: on a machine that runs an image they start several times faster without all plugins."""

from __future__ import annotations

import sys

from appliance.console.grammar import Grammar
from appliance.console.local import run
from appliance.errors import ApplianceError
from appliance_images.commands import COMMANDS

OF_THE_NODE = ("upgrade-cluster", "upgrade-status")
"""Commands that the running node answers; nothing of it is needed to pass them on."""


def main(argv: list[str] | None = None) -> int:
    """Run one command line, such as ``image list``, and return its exit status as `appliance` does."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[1:2] and words[1] in OF_THE_NODE:
        from appliance import cli

        return cli.main(words)
    grammar = Grammar(COMMANDS)
    try:
        prefix = grammar.help_wanted(words)
        if prefix is not None:
            sys.stdout.write(grammar.help(prefix) + "\n")
            return 0
        return run(grammar.parse(words))
    except ApplianceError as error:
        sys.stderr.write(f"appliance: {error.message}\n  {error.hint}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
