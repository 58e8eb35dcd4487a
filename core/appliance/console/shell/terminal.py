"""The shell on a terminal: line editing, TAB, `?`, history, pages. The only module that knows prompt-toolkit's screen.

It works on a serial line: nothing is asked of the terminal but to go to the beginning of a line and to erase it.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

# Terminals are not asked where their cursor is: a serial line may never answer.
os.environ["PROMPT_TOOLKIT_NO_CPR"] = "1"

from prompt_toolkit import PromptSession
from prompt_toolkit import prompt as prompt_once
from prompt_toolkit.application import Application, run_in_terminal
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from appliance.console.shell import choices, node
from appliance.console.shell.complaint import complaint
from appliance.console.shell.history import TypedLines, history_path
from appliance.console.shell.pager import paged
from appliance.console.shell.prompt import prompt
from appliance.console.shell.shell import CLEAR, Left, Shell
from appliance.console.shell.words import SecretMissingError, quoted, split
from appliance.errors import ApplianceError

FIRST_S = 1.0
"""The node has this long to say its name before the first prompt."""
REFRESH_S = 0.5
"""Between two looks at the clock and the role in the prompt."""


class Terminal:
    """Prints a page at a time."""

    @property
    def width(self) -> int:
        """Its columns now."""
        return shutil.get_terminal_size((80, 24)).columns

    def show(self, lines: Iterator[str], *, pages: bool, paint: Callable[[str], str] = str) -> None:
        """Print lines as they come; stop at every page."""
        if pages:
            paged(lines, paint)
            return
        for line in lines:
            sys.stdout.write(paint(line) + "\n")
            sys.stdout.flush()

    def clear(self) -> None:
        """Begin at the top again."""
        sys.stdout.write(CLEAR)


class Console:
    """One session of one person.

    Args:
        path: The control socket.
    """

    def __init__(self, path: str) -> None:
        self._screen = Terminal()
        self._watch = node.Watch(path, notice=lambda text: self._shell.tell(text))
        self._news = threading.Event()
        """Somebody has done something, or the session is over."""
        self._shell = Shell(path, self._screen, lambda: self._watch.seen, on_notice=self._news.set)
        self._history = TypedLines(history_path(os.environ))
        self._left = threading.Event()

    def run(self, *, configure: bool = False, exclusive: bool = False) -> int:
        """Until it is left; the exit status."""
        self._watch.start()
        self._watch.first.wait(FIRST_S)
        # Loaded while the first line is being typed, so that TAB and `?` answer at once.
        threading.Thread(target=self._warm_up, name="commands", daemon=True).start()
        if configure:
            self._shell.configure(exclusive=exclusive)
        session: PromptSession[str] = PromptSession(
            message=self._message,
            history=self._history,
            key_bindings=self._keys(),
            complete_while_typing=False,
            enable_open_in_editor=False,
            reserve_space_for_menu=0,
        )
        threading.Thread(target=self._keep_fresh, args=(session.app,), name="prompt", daemon=True).start()
        while True:
            self._tell_notices()
            try:
                text = session.prompt()
            except KeyboardInterrupt:
                continue
            except EOFError:
                text = "exit"
            try:
                self._execute(text)
            except Left:
                self._left.set()
                self._news.set()
                self._watch.stop()
                return 0

    def _warm_up(self) -> None:
        with suppress(ApplianceError):
            self._shell.commands()

    def _execute(self, text: str) -> None:
        try:
            try:
                self._shell.execute(text)
            except SecretMissingError:
                self._shell.execute(f"{text} {quoted(self._secret())}")
        except (KeyboardInterrupt, EOFError):
            sys.stdout.write("\n")
        except ApplianceError as error:
            indent = len(self._prompt().rpartition("\n")[2])
            sys.stdout.write(complaint(error, text, indent=indent, width=self._screen.width) + "\n")
        if self._shell.has_secret:
            self._history.forget()
        else:
            self._history.keep()

    def _secret(self) -> str:
        """A secret, typed unseen."""
        while True:
            secret = prompt_once("Secret: ", is_password=True)
            if prompt_once("Again: ", is_password=True) == secret:
                return secret
            sys.stdout.write("The two differ.\n")

    def _prompt(self) -> str:
        link = self._shell.link
        return prompt(self._watch.seen, place=link.place if link is not None else None, now=time.monotonic())

    def _message(self) -> FormattedText:
        above, newline, line = self._prompt().rpartition("\n")
        return FormattedText([("", above + newline), ("bold", line)])

    def _keep_fresh(self, app: Application[str]) -> None:
        """Tell news above the prompt, and draw it again when it says something else.

        A serial line stays quiet otherwise. While a command runs nothing is told; it is before the next prompt.
        """
        shown = self._prompt()
        while not self._left.is_set():
            if self._news.wait(REFRESH_S):
                self._news.clear()
                loop = app.loop
                # The loop ends with the line that is being typed, perhaps at this moment.
                with suppress(RuntimeError):
                    if loop is not None and self._shell.notices:
                        loop.call_soon_threadsafe(self._tell_above)
            if self._prompt() != shown:
                shown = self._prompt()
                app.invalidate()

    def _tell_above(self) -> None:
        run_in_terminal(self._tell_notices)

    def _tell_notices(self) -> None:
        while self._shell.notices:
            sys.stdout.write(f"{self._shell.notices.pop(0)}\n")

    # --- keys ------------------------------------------------------------------------------------------------

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        keys.add("tab")(self._on_tab)
        keys.add("?")(self._on_question)
        return keys

    def _on_tab(self, event: KeyPressEvent) -> None:
        """Complete the word, as far as it is clear; show what it may be when it is not."""
        buffer = event.current_buffer
        text = buffer.document.text_before_cursor
        found = self._found(text)
        if isinstance(found, str):
            self._below(found)
            return
        rows, start = found
        typed = split(text).partial()[1].text
        word, is_whole = choices.insertion(rows, typed)
        added = quoted(word) if is_whole and word != typed else word
        if is_whole and len(rows) == 1:
            added += " "
        if added in ("", typed):
            self._below(choices.table(rows, width=self._screen.width))
            return
        buffer.delete_before_cursor(len(text) - start)
        buffer.insert_text(added)

    def _on_question(self, event: KeyPressEvent) -> None:
        """Say what may come next, unless a text is being typed."""
        text = event.current_buffer.document.text_before_cursor
        if split(text).is_open:
            event.current_buffer.insert_text("?")
            return
        found = self._found(text)
        self._below(found if isinstance(found, str) else choices.table(found[0], width=self._screen.width))

    def _found(self, text: str) -> tuple[list[choices.Choice], int] | str:
        try:
            return self._shell.complete(text)
        except ApplianceError as error:
            return f"  {error.message}\n  {error.hint}"

    def _below(self, text: str) -> None:
        """Print below the line that is being typed, which then comes again."""
        run_in_terminal(lambda: sys.stdout.write(text + "\n"), render_cli_done=True)


def run(path: str, *, configure: bool = False, exclusive: bool = False) -> int:
    """A session on this terminal."""
    return Console(path).run(configure=configure, exclusive=exclusive)
