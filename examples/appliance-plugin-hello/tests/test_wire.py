"""Greetings as bytes: what goes out comes in, and nonsense is refused as such."""

from __future__ import annotations

import random

import pytest

from appliance_hello.wire import Greeting, MalformedGreetingError, decode, encode


def test_a_greeting_has_exactly_these_bytes():
    assert encode(Greeting(node="fw1", text="hi")) == b"HELO\x03fw1hi"


@pytest.mark.parametrize("text", ["", "hello", "Grüß Gott"])
def test_what_is_sent_is_what_is_received(text):
    greeting = Greeting(node="fw1", text=text)
    assert decode(encode(greeting)) == greeting


@pytest.mark.parametrize("data", [b"", b"HELO", b"HELO\x00x", b"HELO\x05fw1", b"EHLO\x03fw1", b"HELO\x03fw1\xff"])
def test_nonsense_is_refused(data):
    with pytest.raises(MalformedGreetingError):
        decode(data)


def test_random_bytes_raise_nothing_else():
    generator = random.Random(1)
    for _ in range(2000):
        data = b"HELO" + generator.randbytes(generator.randrange(12))
        try:
            assert encode(decode(data)) == data
        except MalformedGreetingError:
            continue
