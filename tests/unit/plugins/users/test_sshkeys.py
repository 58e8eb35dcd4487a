"""Keys as `ssh-keygen` makes them are taken; whatever else comes is named."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from appliance_users.sshkeys import KEY_MAX, key_problem, plain

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIdtd3FCT8A1Jg1IVGZjMYs7XK0zOPDGtTBzYBDJQkX5"


def packed(*fields: bytes) -> str:
    return base64.b64encode(b"".join(len(each).to_bytes(4, "big") + each for each in fields)).decode()


@pytest.mark.parametrize(
    ("kind", "bits"), [("ed25519", ""), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "2048")]
)
def test_a_line_of_a_pub_file_is_taken(tmp_path: Path, kind: str, bits: str) -> None:
    path = tmp_path / "key"
    size = ["-b", bits] if bits else []
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-C", "olga@desk", "-f", str(path)], check=True)
    text = path.with_suffix(".pub").read_text().strip()
    assert key_problem(text) is None
    assert plain(text) == text.removesuffix(" olga@desk")
    assert len(text) < KEY_MAX
    assert key_problem(path.read_text()) == (
        "this is a private key, which nobody else should see: make a new one, and put its .pub file here"
    )


@pytest.mark.parametrize(
    "key",
    [
        f"sk-ssh-ed25519@openssh.com {packed(b'sk-ssh-ed25519@openssh.com', b'x' * 32, b'ssh:')} token",
        "sk-ecdsa-sha2-nistp256@openssh.com "
        + packed(b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"x" * 65, b"ssh:"),
    ],
)
def test_keys_of_tokens_are_taken(key: str) -> None:
    assert key_problem(key) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a key begins with its type"),
        ("ssh-ed25519", "a key begins with its type"),
        ("AAAAC3NzaC1lZDI1NTE5", "a key begins with its type"),
        (f'command="sh" {ED25519}', "options in front of a key are not taken"),
        (f"{ED25519}\n{ED25519}", "a key is one line"),
        (f"{ED25519} \x1b[2J", "a key is one line"),
        ("ssh-dss AAAA", "DSA keys are no longer taken"),
        ("ssh-ed25519 AAAA!", "is not base64"),
        (ED25519[:-8], "cut off or damaged"),
        (ED25519[:-3], "not base64"),
        (f"ssh-rsa {ED25519.split()[1]}", "cut off or damaged"),
        (f"ssh-ed25519 {packed(b'ssh-rsa', b'x' * 32)}", "is of the type 'ssh-rsa' and not ssh-ed25519"),
        (f"ssh-ed25519 {packed(b'ssh-ed25519', b'x' * 31)}", "the key is damaged"),
        (f"ssh-rsa {packed(b'ssh-rsa', b'e', b'n' * 128)}", "an RSA key of 1023 bits is too weak: at least 2048"),
        (
            f"ecdsa-sha2-nistp256 {packed(b'ecdsa-sha2-nistp256', b'nistp384', b'x' * 97)}",
            "the key is damaged",
        ),
    ],
)
def test_anything_else_is_named(text: str, said: str) -> None:
    assert said in (key_problem(text) or "")
