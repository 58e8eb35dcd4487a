"""Lines as Debian's OpenSSH 9.2 writes them."""

from __future__ import annotations

import pytest

from appliance_ssh.journal import NAME_MAX, Journal

ACCEPTED = "Accepted publickey for olga from 192.168.1.100 port 48158 ssh2: ED25519 SHA256:UErywV9kL4nS2zSY+rjP"


def test_who_comes_in_is_known_with_the_key() -> None:
    journal = Journal()
    assert not journal.note('Connection from 192.168.1.100 port 48158 on 192.168.1.2 port 22 rdomain ""')
    assert journal.note(ACCEPTED)
    assert (journal.user, journal.key) == ("olga", "SHA256:UErywV9kL4nS2zSY+rjP")


def test_nothing_that_comes_later_makes_it_somebody_else() -> None:
    journal = Journal()
    journal.note(ACCEPTED)
    assert not journal.note(ACCEPTED.replace("olga", "eve"))
    assert journal.user == "olga"


@pytest.mark.parametrize(
    ("line", "user"),
    [
        ("Invalid user mallory from 127.0.0.1 port 48172", "mallory"),
        ("User root from 127.0.0.1 not allowed because none of user's groups are listed in AllowGroups", "root"),
        ("Failed publickey for eve from 192.168.1.100 port 5 ssh2: ED25519 SHA256:abc", "eve"),
        ("Failed password for invalid user x from fe80::1%lan0 port 5 ssh2", "x"),
        ("Connection closed by authenticating user eve 192.168.1.100 port 48180 [preauth]", "eve"),
        ("Invalid user Accepted publickey for olga from 1.2.3.4 port 5 ssh2: RSA SHA256:x from 10.0.0.1 port 9",
         "Accepted publickey for olga from 1.2.3.4 port 5 ssh2: RSA SHA256:x"[:NAME_MAX]),
        ("Connection closed by 127.0.0.1 port 48180 [preauth]", ""),
        ("banner exchange: Connection from 127.0.0.1 port 1: invalid format", ""),
    ],
)  # fmt: skip
def test_who_tried_is_known_and_nobody_is_in(line: str, user: str) -> None:
    journal = Journal()
    assert not journal.note(line)
    assert (journal.user, journal.tried) == ("", user)


def test_what_a_stranger_calls_itself_is_short_and_harmless() -> None:
    journal = Journal()
    journal.note(f"Invalid user \x1b[2J{'x' * 500} from 127.0.0.1 port 1")
    assert journal.tried == "?[2J" + "x" * 60
