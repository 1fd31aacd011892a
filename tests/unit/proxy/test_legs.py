import json
from typing import Any

import pytest

from tests.support.counted import counted
from tests.support.cut_streams import Fleet


def resumes(fleet: Fleet) -> dict[str, float]:
    """How broken streams went on, or did not."""
    return counted(fleet.metrics, "gateway_resumes", "outcome")


async def test_chat_goes_on_from_token_ids() -> None:
    fleet = Fleet()
    await fleet.stream(2000)
    first, second = fleet.upstream.sent
    assert first["return_token_ids"] is True
    assert second["kv_transfer_params"]["prompt_token_ids"]
    assert (fleet.line["resumes"], fleet.line["attempts"]) == (1, 2)
    assert resumes(fleet) == {"chat_ids": 1}


async def test_the_last_failure_is_one_error_event() -> None:
    fleet = Fleet()
    it = await fleet.stream(1500, 1500, 1500)
    assert it.error is not None
    assert it.error["code"] == "stream_broken"
    assert not it.is_done
    assert it.roles == 1
    assert fleet.line["resumes"] == 2
    assert fleet.line["resume_refused"] == "spent"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"n": 2, "temperature": 1}, "choices"),
        ({"response_format": {"type": "json_object"}}, "structured_output"),
    ],
)
async def test_what_cannot_be_resumed_says_why(fields: dict[str, Any], why: str) -> None:
    fleet = Fleet()
    it = await fleet.stream(2500, **fields)
    assert it.error is not None
    assert "return_token_ids" not in fleet.upstream.sent[0]
    assert fleet.line["resume_refused"] == why
    assert resumes(fleet) == {why: 1}


async def test_a_lone_replica_is_asked_for_nothing_more() -> None:
    fleet = Fleet(replicas=1)
    it = await fleet.stream(2000)
    assert it.error is not None
    assert "return_token_ids" not in fleet.upstream.sent[0]
    assert fleet.line["resume_refused"] == "no_replica"


async def test_when_all_replicas_were_tried_it_ends() -> None:
    fleet = Fleet(replicas=2)
    it = await fleet.stream(2000, 2000)
    assert it.error is not None
    assert fleet.line["resume_refused"] == "no_replica"


async def test_a_model_may_be_without_it() -> None:
    fleet = Fleet(resume=False)
    it = await fleet.stream(2000)
    assert it.error is not None
    assert "return_token_ids" not in fleet.upstream.sent[0]
    assert fleet.line["resume_refused"] == "off"


async def test_the_upstream_openai_itself_goes_on_with_nothing() -> None:
    fleet = Fleet("openai")
    it = await fleet.stream(2000)
    assert it.error is not None
    assert fleet.line["resume_refused"] == "engine"


async def test_an_engine_that_does_not_know_ids_in_chat_is_asked_for_a_completion() -> None:
    fleet = Fleet()
    wanted = await fleet.stream()
    fleet.upstream.ignores = "kv_transfer_params"
    it = await fleet.stream(2000)
    assert it.text == wanted.text
    assert (it.roles, it.finishes, it.is_done) == (1, ["length"], True)
    assert "prompt" in fleet.upstream.sent[-1]
    assert resumes(fleet) == {"completion_ids": 1}


async def test_an_engine_that_refuses_a_way_is_asked_by_another() -> None:
    fleet = Fleet(replicas=2)
    wanted = await fleet.stream()
    fleet.upstream.refuses = ("kv_transfer_params",)
    it = await fleet.stream(2000)
    assert it.text == wanted.text
    assert resumes(fleet) == {"completion_ids": 1}
    fleet.upstream.refuses = ("kv_transfer_params", "prompt")
    assert (await fleet.stream(2000)).error is not None
    assert fleet.line["resume_refused"] == "spent"


async def test_sampled_text_behind_a_stop_string_goes_on_as_text() -> None:
    fleet = Fleet()
    wanted = await fleet.stream(stop="xyz", temperature=1)
    it = await fleet.stream(3000, stop="xyz", temperature=1)
    assert fleet.upstream.sent[-1]["continue_final_message"] is True
    common = min(len(it.text), len(wanted.text)) - 1
    assert it.text[:common] == wanted.text[:common]
    assert resumes(fleet) == {"text": 1}


async def test_an_answer_that_lacks_only_its_end_is_closed_without_an_engine() -> None:
    fleet = Fleet("llamacpp", unicode=False)
    wanted = await fleet.stream(max_tokens=5)
    whole = fleet.upstream.whole()
    cut = whole.index(b'"length"') - 40
    it = await fleet.stream(cut, max_tokens=5)
    assert (it.text, it.finishes, it.is_done) == (wanted.text, ["length"], True)
    assert len(fleet.upstream.sent) == 1
    assert fleet.line["finish_reason"] == "length"
    assert resumes(fleet) == {"closed": 1}


async def test_a_client_that_wants_token_ids_gets_each_once() -> None:
    fleet = Fleet()
    wanted = ids_in(await fleet.raw(return_token_ids=True))
    resumed = 0
    for cut in range(1000, 5000, 100):
        body = await fleet.raw(cut, return_token_ids=True)
        if b'"error"' in body:
            # ids of half a character were out
            assert fleet.line["resume_refused"] == "parameter"
            assert wanted[: len(ids_in(body))] == ids_in(body)
        else:
            resumed += fleet.line["resumes"]
            assert ids_in(body) == wanted
    assert resumed > 10


def ids_in(body: bytes) -> list[int]:
    chunks = [json.loads(event[6:]) for event in body.split(b"\n\n") if event[:7] == b"data: {"]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    return [token for choice in choices for token in choice.get("token_ids") or ()]


async def test_what_the_client_sees_is_byte_for_byte_what_it_saw_without() -> None:
    kept, plain = Fleet(), Fleet(resume=False)
    assert await kept.raw() == await plain.raw()


async def test_a_client_that_leaves_meanwhile_is_left_alone() -> None:
    fleet = Fleet()
    fleet.leaves = 2
    await fleet.stream(2000, 1200)
    assert len(fleet.upstream.sent) == 2
    assert fleet.line["outcome"] == "client_gone" or fleet.line["resumes"] == 1


async def test_a_deadline_ends_it() -> None:
    fleet = Fleet(timeouts={"total_s": 0.05})
    fleet.upstream.hangs = 2
    it = await fleet.stream(2000)
    assert it.error is not None
    assert it.error["code"] == "deadline_exceeded"


async def test_a_client_that_is_gone_is_not_gone_on_for() -> None:
    fleet = Fleet()
    fleet.leaves = 1
    await fleet.stream(2000)
    assert len(fleet.upstream.sent) == 1
