import pytest

from gateway.quality.refusal import refuses


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, but that is not possible.",
        "I cannot assist with this request.",
        "I can't provide that.",
        "As an AI language model, I have no opinion.",
        "Unfortunately, I am unable to do so.",
    ],
)
def test_refusals(answer: str) -> None:
    assert refuses(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "The capital is Paris.",
        "I can help with that.",
        "Sorry about the delay: here it is.",
        "x" * 300 + " I cannot assist with this.",
    ],
)
def test_answers(answer: str) -> None:
    assert not refuses(answer)
