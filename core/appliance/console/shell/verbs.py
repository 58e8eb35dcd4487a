"""The verbs of configuration mode, declared like commands: the same completion and help for both. Pure."""

from __future__ import annotations

from appliance.plugin.contributions import Argument, Command, Where

PATH = Argument(name="path...", help="keys, names and values of the configuration")
MINUTES = Argument(name="minutes", help="until it rolls back by itself, 0.05..60", type=float, required=True)
WHY = Argument(name="comment...", help="`comment` and why, for the history")
COMMENT_TEXT = Argument(name="comment", help="why, for the history; in quotes", required=True)
REVISION = Argument(name="revision", help="see `run config history`; 0 is what is in force", type=int, default=0)
PATTERN = Argument(name="pattern", help="a regular expression", required=True)
FILE = Argument(name="file", help="a file on this machine", required=True)


def _elsewhere(**_: object) -> None:
    raise AssertionError("verbs are run by the editor or by the shell")


def _verb(words: str, text: str, *arguments: Argument, here: bool = False, reads: bool = False) -> Command:
    """A verb; `here`: run by the shell itself and not by the node."""
    return Command(
        path=tuple(words.split()),
        help=text,
        run=_elsewhere,
        arguments=arguments,
        where=Where.LOCAL if here else Where.DAEMON,
        reads=reads,
    )


VERBS: tuple[Command, ...] = (
    _verb("set", "Give a key a value; lists get one more.", PATH),
    _verb("delete", "Remove a key, a table, an item, or one value of a list.", PATH),
    _verb("edit", "Go to a place; paths are relative to it.", PATH),
    _verb("up", "Go up, by as many levels.", Argument(name="levels", help="how many", type=int, default=1)),
    _verb("top", "Go to the top."),
    _verb("rename", "Give a table or an item another name: rename PATH to NAME; a number moves an item.", PATH),
    _verb("copy", "Make another one like it: copy PATH to NAME.", PATH),
    _verb("show", "The candidate configuration, or a part of it.", PATH, reads=True),
    _verb("compare", "What differs from what is in force, or from an older revision.", REVISION, reads=True),
    _verb("compare running", "What differs from what is in force.", reads=True),
    _verb("compare saved", "What differs from the file, which is what a reboot brings.", reads=True),
    _verb("compare peer", "In which keys the other nodes differ from what they should have.", here=True, reads=True),
    _verb("commit", "Make the candidate the configuration, or confirm the last commit."),
    _verb("commit check", "Find every problem, change nothing."),
    _verb("commit confirmed", "Commit; it rolls back by itself unless you `commit` again.", MINUTES, WHY),
    _verb("commit comment", "Commit, and say why.", COMMENT_TEXT),
    _verb("rollback", "Take an older revision as candidate.", REVISION),
    _verb("discard", "Forget all changes that are not committed."),
    _verb("update", "Bring your changes onto what somebody else has committed meanwhile."),
    _verb("load merge", "Take everything of a file into the candidate.", FILE, here=True),
    _verb("load override", "Take a file as the candidate.", FILE, here=True),
    _verb("save", "Write what is in force to the configuration file; every commit does."),
    _verb("status", "Who edits, what is changed, what waits to be confirmed.", reads=True),
    _verb("run", "A command of operational mode.", Argument(name="command...", help="the command"), here=True),
    _verb("help", "What can be done here.", here=True, reads=True),
    _verb("exit", "Up to the top, then leave configuration mode.", here=True),
    _verb("exit discard", "Leave configuration mode and forget all changes.", here=True),
    _verb("quit", "As exit.", here=True),
)

SHELL_COMMANDS: tuple[Command, ...] = (
    _verb("configure", "Change the configuration.", here=True),
    _verb("configure exclusive", "Change the configuration, and nobody else meanwhile.", here=True),
    _verb("exit", "Leave the shell.", here=True),
    _verb("quit", "Leave the shell.", here=True),
)
"""What operational mode has besides the commands of the node."""

PIPES: tuple[Command, ...] = (
    _verb("match", "Only lines that match.", PATTERN),
    _verb("except", "Only lines that do not match.", PATTERN),
    _verb("count", "How many lines."),
    _verb("last", "The last lines.", Argument(name="lines", help="how many", type=int, default=10)),
    _verb("json", "As JSON."),
    _verb("set", "A configuration as set commands."),
    _verb("no-more", "Without stopping at every page."),
)
