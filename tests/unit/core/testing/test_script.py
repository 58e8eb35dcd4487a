"""Transcripts compare effects in order and never let one go unseen."""

from __future__ import annotations

import pytest

from appliance.testing import Script


def test_effects_in_order_pass() -> None:
    with Script(["start"]) as script:
        script >> ["start"]
        script.feed(["a", "b"]) >> ["a", "b"]
        script.feed([]) >> []


def test_a_mismatch_shows_what_was_asserted_before_and_the_difference() -> None:
    script = Script(["start"]) >> ["start"]
    with pytest.raises(AssertionError) as caught:
        script.feed(["advert"]) >> ["master", "advert"]
    assert str(caught.value) == ("asserted until here:\n  'start'\nthen (- expected, + got):\n- 'master'\n  'advert'")


def test_an_effect_that_nobody_asserted_fails_at_the_end() -> None:
    with pytest.raises(AssertionError, match="nobody asserted: \\['advert'\\]"), Script() as script:
        script.feed(["advert"])


def test_ignored_kinds_are_not_compared() -> None:
    with Script([1, "note", 2]) as script:
        script.ignore(str) >> [1, 2]


def test_a_failure_in_the_block_is_not_hidden_by_what_was_left() -> None:
    with pytest.raises(KeyError), Script(["left over"]):
        raise KeyError
