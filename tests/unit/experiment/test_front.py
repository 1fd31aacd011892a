import random

import msgspec

from gateway.experiment.front import Front, body_of
from gateway.experiment.plan import ENGINE
from gateway.experiment.workload import WORKLOADS
from gateway.routing import POLICIES
from gateway.simulator.scheduler import Scheduler, Work

TURNS = WORKLOADS["chat"].sessions(replicas=1, duration_s=30, seed=1)[0].turns


def a_front(policy: str, replicas: int = 4) -> Front:
    return Front(POLICIES[policy](), replicas, random.Random(0))


def test_the_body_is_what_a_client_sends() -> None:
    body = msgspec.json.decode(body_of(TURNS[0].prompt, stream=True))
    assert body["stream"] is True
    assert [one["role"] for one in body["messages"]] == ["system", "user"]
    assert body["messages"][1]["content"] == TURNS[0].prompt[1].text


def test_calls_go_to_the_replica_with_the_fewest() -> None:
    front = a_front("least-loaded")
    places = [front.place(TURNS[0]) for _ in range(4)]
    assert sorted(place.replica for place in places) == [0, 1, 2, 3]
    places[2].began()
    places[2].release()
    assert front.place(TURNS[0]).replica == places[2].replica


def test_a_conversation_stays_where_it_is_known() -> None:
    front = a_front("prefix-affinity")
    places = [front.place(turn) for turn in TURNS]
    assert len({place.replica for place in places}) == 1


def test_what_an_engine_publishes_counts() -> None:
    front = a_front("least-loaded", 2)
    busy = Scheduler(ENGINE)
    for _ in range(5):
        busy.add(Work((1, 2, 3), 10))
    front.scraped(0, busy, 1.0)
    assert {front.place(TURNS[0]).replica for _ in range(3)} == {1}
