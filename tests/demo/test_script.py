"""What the scripted model says."""

from __future__ import annotations

import pytest

from otel_tools.demo.script import Result, next_turn, tokens

GOOD, BAD = '{"found": 1}', "Error: HTTP Error 503: Service Unavailable"


def _wanted(turn):
    return [use.name for use in turn.uses]


def test_it_asks_for_all_tools_at_once():
    """Those the question needs, and how the customer likes to be addressed."""
    turn = next_turn("How do I return my order 1042, and is the trail shoe in stock?", [])
    assert _wanted(turn) == ["get_order_status", "check_inventory", "search_knowledge_base", "get_user_preferences"]
    assert turn.text == ""


def test_it_answers_from_what_it_got():
    """One sentence for each thing that was asked, none for the preferences."""
    turn = next_turn("Where is my order?", [Result("get_order_status", GOOD), Result("get_user_preferences", GOOD)])
    assert turn.text == "Order 1042 is on its way with ACME Parcel and should arrive tomorrow before noon."
    assert turn.uses == ()


def test_it_searches_once_more_in_other_words():
    """Then it says that it does not know, instead of guessing."""
    first = Result("search_knowledge_base", BAD)
    again = next_turn("How do I return shoes?", [first])
    assert _wanted(again) == ["search_knowledge_base"]
    assert next_turn("How do I return shoes?", [first, first]).text.startswith("I cannot look up the return policy")


def test_it_can_be_told_not_to_give_up():
    """Seven searches, each in other words, is what session limits are for."""
    results, queries = [], set()
    while (turn := next_turn("How? Find out, whatever it takes.", results)).uses:
        queries |= {use.arguments["query"] for use in turn.uses if use.name == "search_knowledge_base"}
        results.append(Result("search_knowledge_base", BAD))
    assert len(queries) == len(results) == 7


@pytest.mark.parametrize(("document", "count"), [("", 1), ("a" * 400, 100), ({"a": "b" * 33}, 10)])
def test_tokens_are_a_quarter_of_the_characters(document, count):
    """Near enough to what models count for English text."""
    assert tokens(document) == count
