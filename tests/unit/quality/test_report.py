import json
from dataclasses import replace

from gateway.quality.item import failed_item
from tests.support.compared import a_report, a_side, an_item


def test_the_form_is_promised() -> None:
    told = a_report().as_dict()
    assert set(told) == {
        "version",
        "tool",
        "at",
        "a",
        "b",
        "asked",
        "interrupted",
        "notes",
        "verdict",
        "findings",
        "unknown",
        "summary",
        "failures",
    }
    assert told["version"] == 1
    assert set(told["a"]) == {"url", "model", "way"}
    assert set(told["summary"]["kl"]) == {"value", "low", "high", "prompts"}
    assert set(told["findings"][0]) == {"name", "value", "bound", "is_upper", "is_met", "is_sure"}
    json.dumps(told)


def test_models_of_the_same_name_are_told_apart() -> None:
    report = a_report()
    assert report.names == ("m:bf16", "m:fp8")
    same = replace(report, b=replace(report.b, model="m:bf16"))
    assert same.names == ("m:bf16 at http://a", "m:bf16 at http://b")


def test_failures_are_named_by_the_place_of_their_prompt() -> None:
    told = a_report([failed_item(2, "k", "A failed: 500"), an_item(3)]).as_dict()
    assert told["failures"] == [{"prompt": 3, "failure": "A failed: 500"}]


def test_the_worst_come_first_and_lost_answers_before_them() -> None:
    near = an_item(0, b=a_side("a c"))
    far = an_item(1, b=a_side("zzz"))
    lost = an_item(2, a_side(right=True), a_side("a x", right=False))
    same = an_item(3)
    report = a_report([near, far, lost, same, failed_item(4, "k", "no")])
    assert [item.number for item in report.worst] == [2, 1, 0]
