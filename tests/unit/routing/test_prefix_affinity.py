import random
from dataclasses import replace

from hypothesis import given

from gateway.routing.prefix_affinity import LEAN, OTHERS, SESSION_LEAN, PrefixAffinity
from gateway.routing.rendezvous import home, mixed
from gateway.wire.prefix import NO_PREFIX, Prefix
from tests.support.configs import AView
from tests.support.views import prefixes, views

RNG = random.Random(0)
LONG = Prefix(tuple(range(100, 140)), own_key=5)


def fleet(count: int = 4) -> list[AView]:
    return [AView(f"r{n}", seed=mixed(n + 1)) for n in range(count)]


def pick(replicas: list[AView], prefix: Prefix) -> str:
    return PrefixAffinity().pick(replicas, prefix, RNG).name


@given(views(), prefixes())
def test_nobody_costs_less_than_the_one_picked(replicas: list[AView], prefix: Prefix) -> None:
    policy = PrefixAffinity()
    scores = policy.scores(replicas, prefix)
    at = replicas.index(policy.pick(replicas, prefix, RNG))
    assert scores[at].cost == min(score.cost for score in scores)


@given(views(min_size=2), prefixes())
def test_who_knows_more_of_a_prompt_never_costs_more(replicas: list[AView], prefix: Prefix) -> None:
    policy = PrefixAffinity()
    before = policy.scores(replicas, prefix)[0].cost
    replicas[0] = replace(replicas[0], knows=(*replicas[0].knows, *prefix.blocks))
    assert policy.scores(replicas, prefix)[0].cost <= before


def test_a_prompt_goes_to_where_it_is_known() -> None:
    replicas = fleet()
    for number, replica in enumerate(replicas):
        known = [*replicas]
        known[number] = replace(replica, knows=LONG.blocks)
        assert pick(known, LONG) == replica.name


def test_unless_waiting_there_costs_more_than_it_saves() -> None:
    knowing = AView("knowing", seed=1, knows=LONG.blocks, prefilling=30)
    idle = AView("idle", seed=2)
    assert pick([knowing, idle], LONG) == "knowing"
    assert pick([replace(knowing, prefilling=90), idle], LONG) == "idle"
    assert pick([replace(knowing, prefilling=0, in_flight=90, load=90), idle], LONG) == "idle"


def test_figures_that_are_seconds_old_count_less_than_our_own() -> None:
    ours, others = AView("ours", in_flight=10, load=10), AView("others", in_flight=0, load=10)
    scores = PrefixAffinity().scores([ours, others], NO_PREFIX)
    assert scores[0].parts["requests"] == 10
    assert scores[1].parts["requests"] == 10 * OTHERS


def test_a_conversation_that_was_never_seen_is_at_home_where_others_send_it() -> None:
    replicas = fleet()
    begun = Prefix(LONG.blocks, own_key=77, past_blocks=30)
    at = home(77, replicas)
    assert pick(replicas, begun) == at.name
    assert pick(replicas[::-1], begun) == at.name


def test_what_we_have_seen_counts_more_than_a_home() -> None:
    replicas = fleet()
    at = home(77, replicas)
    begun = Prefix(LONG.blocks, own_key=77, past_blocks=30)
    other = next(number for number, one in enumerate(replicas) if one is not at)
    replicas[other] = replace(replicas[other], knows=(77, *LONG.blocks))
    assert pick(replicas, begun) == replicas[other].name


def test_a_system_prompt_that_is_new_to_us_goes_to_its_own_home() -> None:
    replicas = fleet()
    for own in range(20):
        new = Prefix(LONG.blocks, shared_key=9, shared_blocks=36, own_key=own)
        assert pick(replicas, new) == home(9, replicas).name


def test_what_is_new_goes_where_least_is_to_do_if_nobody_else_sends_there() -> None:
    replicas = [replace(one, is_shared=False, in_flight=1, load=1) for one in fleet()]
    replicas[2] = replace(replicas[2], in_flight=0, load=0)
    for key in range(1, 20):
        new = Prefix(LONG.blocks, shared_key=key, shared_blocks=36, own_key=100 + key)
        assert pick(replicas, new) == "r2"


def test_what_was_evicted_is_computed_again_where_it_was() -> None:
    replicas = [replace(one, is_shared=False) for one in fleet()]
    replicas[3] = replace(replicas[3], knows=(9,), turns=5)
    assert pick(replicas, Prefix(LONG.blocks, shared_key=9, shared_blocks=36)) == "r3"


def test_who_was_sent_much_of_late_costs_more() -> None:
    replicas = [replace(one, is_shared=False, sent=10) for one in fleet()]
    replicas[1] = replace(replicas[1], sent=0, turns=5)
    assert pick(replicas, LONG) == "r1"


def test_one_that_is_known_everywhere_leaves_conversations_to_theirs() -> None:
    replicas = [replace(one, knows=(9, *LONG.blocks[:36])) for one in fleet()]
    picked = {
        pick(replicas, Prefix(LONG.blocks, shared_key=9, shared_blocks=36, own_key=own))
        for own in range(1, 60)
    }
    assert picked == {"r0", "r1", "r2", "r3"}


def test_a_session_stays_until_its_replica_is_much_busier() -> None:
    replicas = fleet()
    session = Prefix(LONG.blocks, own_key=77, has_session=True)
    number = replicas.index(home(77, replicas))
    replicas[number] = replace(replicas[number], prefilling=SESSION_LEAN - 1)
    assert pick(replicas, session) == replicas[number].name
    replicas[number] = replace(replicas[number], prefilling=SESSION_LEAN + 1)
    assert pick(replicas, session) != replicas[number].name


def test_a_new_conversation_leans_to_its_home_a_little() -> None:
    replicas = fleet()
    number = replicas.index(home(LONG.own_key, replicas))
    replicas[number] = replace(replicas[number], prefilling=LEAN - 1)
    assert pick(replicas, LONG) == replicas[number].name
    replicas[number] = replace(replicas[number], prefilling=LEAN + 1)
    assert pick(replicas, LONG) != replicas[number].name


def test_a_full_cache_is_avoided_and_a_half_full_one_hardly() -> None:
    def cost(used: float) -> float:
        view = AView(kv_cache_used_ratio=used)
        return PrefixAffinity().scores([view], NO_PREFIX)[0].parts["kv_cache"]

    assert cost(0.5) <= 1 < 8 < cost(0.95)


def test_a_heavier_replica_bears_more() -> None:
    heavy = AView("heavy", weight=4, in_flight=6, load=6)
    light = AView("light", in_flight=2, load=2)
    assert pick([light, heavy], NO_PREFIX) == "heavy"
