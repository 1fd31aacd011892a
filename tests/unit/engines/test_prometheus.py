import pytest

from gateway.engines.prometheus import Samples

TEXT = b"""
# HELP requests Requests.
# TYPE requests gauge
requests{engine="0",note="a \\"quoted\\" one"} 2
requests{engine="1"} 3.5
ratio 0.25
ratio 1.25
broken not-a-number
other 9
"""


def test_values_are_added_up_over_their_labels() -> None:
    assert Samples(TEXT, ["requests"]).total("requests") == 5.5


def test_the_largest_value_is_found() -> None:
    assert Samples(TEXT, ["ratio"]).largest("ratio") == 1.25


def test_the_first_name_that_is_there_counts() -> None:
    samples = Samples(TEXT, ["missing", "requests", "ratio"])
    assert samples.total("missing", "requests", "ratio") == 5.5
    assert samples.largest("missing", "ratio", "requests") == 1.25


def test_what_is_not_there_is_unknown() -> None:
    samples = Samples(TEXT, ["missing"])
    assert samples.total("missing") is None
    assert samples.largest("missing") is None
    assert samples.labels("missing") == []


def test_what_was_not_asked_for_is_not_kept() -> None:
    assert Samples(TEXT, ["requests"]).total("other") is None


def test_labels_are_read() -> None:
    found = Samples(TEXT, ["requests"]).labels("requests")
    assert found[1] == ({"engine": "1"}, 3.5)


def test_unreadable_lines_are_passed_over() -> None:
    assert Samples(TEXT + b"\xff\xfe", ["broken"]).total("broken") is None


@pytest.mark.parametrize("value", ["+Inf", "-Inf", "NaN", "1e999"])
def test_what_is_no_finite_number_is_passed_over(value: str) -> None:
    samples = Samples(f"free {value}\nfree 2\n".encode(), ["free"])
    assert samples.labels("free") == [({}, 2)]
