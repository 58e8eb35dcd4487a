"""The `appliance` command: words go to a local command, or to the node, which does the rest.

An operator types `appliance show carp` during an outage, so that path imports neither plugins nor the
libraries of the node: the node parses the words and renders the answer.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress

from appliance.control import client, wire
from appliance.errors import ApplianceError, UnreachableError, UsageError

# Known to run here, see appliance.console.commands.LOCAL_HEADS (a test compares them).
LOCAL_HEADS = frozenset(
    {
        *("run", "check", "version", "help", "plugin", "capture", "ping", "wizard", "menu", "factory-defaults"),
        *("lab", "drill"),
    }
)
# Known to run in the node; anything else may be a local command of a plugin.
DAEMON_HEADS = frozenset(
    {"show", "ha", "events", "doctor", "metrics", "config", "sync", "configure", "monitor", "shell"}
)
CLEAR = "\x1b[H\x1b[2J"
"""What a live screen begins with on a terminal."""
INTERRUPTED = 130
BROKEN_PIPE = 141

SHORT_HELP = """\
usage: appliance [COMMAND [--json]] [--socket S]

  (no command)       on a terminal: the console shell; otherwise the lines of standard input
  show ha            one screen: roles, peers, links, what is wrong and what to do
  show carp          the virtual addresses in detail
  ha switchover      hand all virtual addresses to the peer
  doctor             look for problems, each with its remedy
  events --follow    what happens, as it happens
  wizard             make the configurations of both nodes from a few answers
  check -c FILE      validate a configuration
  run -c FILE        run a node in the foreground
  help               every command; `appliance COMMAND --help` explains one"""


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit status: 0 done, 1 failed, 2 usage, 3 node unreachable."""
    try:
        status = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # `appliance events | head`: nobody reads on. Keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except ApplianceError as error:
        return _complain(error.message, error.hint, error.exit_code)
    return status


def _dispatch(argv: list[str]) -> int:
    head = next((word for word in argv if not word.startswith("-")), "")
    if argv[:1] == ["-c"]:
        return _one_line(argv[1:])
    if head not in LOCAL_HEADS and ("--help" in argv or "-h" in argv):
        return _help(argv)
    if head in LOCAL_HEADS and argv[0] == head:
        return _run_here(argv, head)
    words, path, as_json = _split(argv)
    if not as_json and words in ([], ["configure"], ["configure", "exclusive"]):
        return _shell(path, words)
    if words and words[0] in LOCAL_HEADS:
        return _run_here(argv, words[0])
    try:
        return _ask_node(words, path, as_json)
    except UnreachableError as unreachable:
        if not words or words[0] in DAEMON_HEADS:
            raise
        return _run_here(argv, words[0], otherwise=unreachable)


def _help(argv: list[str]) -> int:
    """``--help`` for a command: the node has all plugins loaded, and where none answers they are loaded here."""
    words, path, _ = _split(argv)
    with suppress(ApplianceError):
        for reply in client.request(path, words):
            if isinstance(reply, wire.Text):
                print(reply.text)
                return 0
    return _run_here(["help", *(word for word in argv if not word.startswith("-"))], "help")


def _split(argv: list[str]) -> tuple[list[str], str, bool]:
    """Take the options of the client out: the rest is for the node to understand."""
    path = os.environ.get("APPLIANCE_SOCKET") or client.DEFAULT_SOCKET
    words, as_json, rest = [], False, iter(argv)
    for word in rest:
        name, equals, value = word.partition("=")
        if word == "--":
            words += [word, *rest]
        elif word == "--json":
            as_json = True
        elif word == "--plain":
            os.environ["NO_COLOR"] = "1"
        elif name in ("--socket", "-s"):
            path = value if equals else next(rest, "")
            if not path:
                raise UsageError(f"{name} needs a value", hint="usage: appliance COMMAND [--json] [--socket S]")
        else:
            words.append(word)
    return words, path, as_json


def _shell(path: str, words: list[str]) -> int:
    """The console shell on a terminal; otherwise the lines of standard input, if there are any."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        from appliance.console.shell import terminal

        return terminal.run(path, configure=bool(words), exclusive=len(words) > 1)
    first = "" if sys.stdin.isatty() else sys.stdin.readline()
    if not first:
        print(SHORT_HELP)
        return 0 if not words else UsageError.exit_code
    from itertools import chain

    from appliance.console.shell import linemode

    return linemode.run_lines(path, chain([first], sys.stdin), configure=bool(words))


def _one_line(argv: list[str]) -> int:
    """``-c LINE``: a line as it is typed in the shell. This is how a login shell is called by SSH."""
    words, path, as_json = _split(argv)
    if len(words) != 1:
        raise UsageError("-c needs one line of the shell, in quotes", hint='usage: appliance -c "show ha" [--json]')
    from appliance.console.shell import linemode

    return linemode.run_line(path, words[0], as_json=as_json)


def _ask_node(words: list[str], path: str, as_json: bool) -> int:
    width = os.get_terminal_size().columns if sys.stdout.isatty() else 0
    indent = 2 if width else None
    for reply in client.request(path, words, json=as_json, width=width):
        if isinstance(reply, wire.Data):
            print(json.dumps(reply.data, indent=indent), flush=True)
        elif isinstance(reply, wire.Text):
            clear = CLEAR if width and words[0] == "monitor" else ""
            print(clear + (_painted(words, reply.text) if width else reply.text), flush=True)
        elif isinstance(reply, wire.Failure):
            return _complain(reply.message, reply.hint, reply.exit)
        elif isinstance(reply, wire.RunLocally):
            return _run_here([*words, *(["--json"] if as_json else [])], words[0])
        elif isinstance(reply, wire.Exit):
            return reply.status
    return 1


def _painted(words: list[str], text: str) -> str:
    from appliance.console.colour import painter

    return painter(words, os.environ)(text)


def _run_here(argv: list[str], head: str, *, otherwise: ApplianceError | None = None) -> int:
    from appliance.console import local

    grammar = local.grammar(head)
    if otherwise is not None and not grammar.knows(argv):
        raise otherwise
    prefix = grammar.help_wanted(argv)
    if prefix is not None:
        print(grammar.help(prefix))
        return 0
    return local.run(grammar.parse(argv))


def _complain(message: str, hint: str, status: int) -> int:
    sys.stdout.flush()
    print(f"appliance: {message}\n  {hint}", file=sys.stderr)
    return status
