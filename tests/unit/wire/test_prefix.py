import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.ask import Ask, Operation, read_ask
from gateway.wire.prefix import BLOCK_BYTES, NO_PREFIX, Prefix, prefix_of, session_of

SYSTEM = {"role": "system", "content": "s" * 2000}
ONE = {"role": "user", "content": "one " * 400}
ANSWER = {"role": "assistant", "content": "two " * 300}
OTHER = {"role": "user", "content": "three " * 100}
TOOLS = [{"type": "function", "function": {"name": "f", "description": "d" * 600}}]


def chat(*messages: object, **more: object) -> Ask:
    body = {"model": "m", "messages": messages, **more}
    return read_ask(msgspec.json.encode(body), Operation.CHAT)


def common(one: Prefix, other: Prefix) -> int:
    """How many blocks they begin with in common."""
    pairs = zip(one.blocks, other.blocks, strict=False)
    return next(
        (n for n, (a, b) in enumerate(pairs) if a != b), min(map(len, (one.blocks, other.blocks)))
    )


def test_a_conversation_that_goes_on_begins_as_it_did() -> None:
    first, then = prefix_of(chat(SYSTEM, ONE)), prefix_of(chat(SYSTEM, ONE, ANSWER, OTHER))
    assert common(first, then) == len(first.blocks) == (2000 + 1600 + 60) // BLOCK_BYTES
    assert len(then.blocks) > len(first.blocks)
    assert first.own_key == then.own_key
    assert first.shared_key == then.shared_key
    assert first.past_blocks == 0
    assert then.shared_blocks < len(first.blocks) <= then.past_blocks <= len(then.blocks)


def test_what_nobody_has_answered_is_no_past() -> None:
    documents = prefix_of(chat(SYSTEM, ONE, OTHER, ONE))
    assert documents.past_blocks == 0
    assert documents.own_key == prefix_of(chat(SYSTEM, ONE)).own_key


def test_conversations_under_one_system_prompt_share_that_and_no_more() -> None:
    one, other = prefix_of(chat(SYSTEM, ONE)), prefix_of(chat(SYSTEM, OTHER))
    assert one.shared_key == other.shared_key != 0
    assert one.own_key != other.own_key
    assert one.shared_blocks == 2000 // BLOCK_BYTES
    assert common(one, other) in (one.shared_blocks, one.shared_blocks + 1)


def test_nothing_is_shared_without_a_system_prompt_or_tools() -> None:
    prefix = prefix_of(chat(ONE))
    assert (prefix.shared_key, prefix.shared_blocks) == (0, 0)
    assert prefix.own_key


def test_tools_come_before_the_messages() -> None:
    bare, with_tools = prefix_of(chat(ONE)), prefix_of(chat(ONE, tools=TOOLS))
    assert common(bare, with_tools) == 0
    assert with_tools.shared_key
    assert with_tools.shared_blocks == 2


@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.COMPLETION])
def test_tenants_with_different_salts_share_nothing(operation: Operation) -> None:
    content = "messages" if operation is Operation.CHAT else "prompt"
    value = [SYSTEM, ONE] if operation is Operation.CHAT else "p" * 2000
    one, other = (
        prefix_of(
            read_ask(
                msgspec.json.encode({"model": "m", content: value, "cache_salt": salt}), operation
            )
        )
        for salt in "ab"
    )
    assert not set(one.blocks) & set(other.blocks)
    assert one.own_key != other.own_key


@given(st.text(min_size=3000, max_size=3100), st.text(max_size=50), st.text(max_size=50))
def test_texts_share_the_blocks_before_they_differ(begin: str, one: str, other: str) -> None:
    a, b = (
        prefix_of(
            read_ask(
                msgspec.json.encode({"model": "m", "prompt": begin + end}), Operation.COMPLETION
            )
        )
        for end in (one, other)
    )
    alike = len(msgspec.json.encode(begin)) - 1
    assert common(a, b) >= min(alike // BLOCK_BYTES, len(a.blocks), len(b.blocks))


def test_what_the_engine_will_refuse_is_hashed_all_the_same() -> None:
    ask = chat(*([7] * 400))
    assert prefix_of(ask).blocks
    assert prefix_of(chat()) == prefix_of(chat())
    assert prefix_of(chat(SYSTEM, SYSTEM)).own_key


def test_very_long_prompts_are_read_up_to_a_bound() -> None:
    prefix = prefix_of(chat({"role": "user", "content": "x" * 3_000_000}))
    assert len(prefix.blocks) == 2048


def test_a_session_is_one_whatever_is_said_in_it() -> None:
    one, other = prefix_of(chat(ONE), b"s1"), prefix_of(chat(OTHER), b"s1")
    assert one.has_session
    assert one.own_key == other.own_key != prefix_of(chat(ONE), b"s2").own_key
    assert not prefix_of(chat(ONE)).has_session
    assert not NO_PREFIX.blocks


def test_the_header_names_the_session_before_the_body_does() -> None:
    ask = chat(ONE, prompt_cache_key="k", user="u")
    assert session_of(ask, b"h", "header") == b"h"
    assert session_of(ask, None, "header") == b'"k"'
    assert session_of(ask, b"h", "none") is None


def test_a_user_is_a_session_only_where_that_is_wanted() -> None:
    ask = chat(ONE, user="u")
    assert session_of(ask, None, "header") is None
    assert session_of(ask, None, "user") == b'"u"'
    assert session_of(chat(ONE, user=None), None, "user") is None


def test_what_must_be_equal_beside_the_prompt_salts_it() -> None:
    body = msgspec.json.encode({"model": "m", "prompt": "x" * 4096})
    given = read_ask(body, Operation.COMPLETION)
    one, other = prefix_of(given, None, b"sql"), prefix_of(given)
    assert not set(one.blocks) & set(other.blocks)
    assert one.own_key != other.own_key
    assert other == prefix_of(given, None, b"")
