import re

from gateway.quality.html_page import html_of
from gateway.quality.item import failed_item
from gateway.quality.views import Views, shared_views
from tests.support.compared import a_report, a_side, along, an_item


def test_a_page_shows_the_verdict_plots_and_the_worst_answers() -> None:
    differing = an_item(
        9,
        a_side("x" * 2000, right=True),
        a_side("<b>no</b>", right=False),
        shared_views(along("a"), along("b")),
    )
    html = html_of(
        a_report(
            [*(an_item(i) for i in range(5)), differing, failed_item(7, "k", "B failed")],
            notes=("a note",),
            is_interrupted=True,
        )
    )
    assert html.count("<svg") == 6
    for text in (
        "m:fp8 against m:bf16",
        "Worse:",
        "Answers that differ most",
        "&lt;b&gt;no",
        "...",
        "B failed",
        "a note",
        "interrupted",
        "wrong",
    ):
        assert text in html
    assert not re.search(r"<script|src=|href=|url\(", html)


def test_places_that_few_answers_reach_are_not_drawn() -> None:
    long = an_item(0, views=shared_views(along("a", "b", "c"), along("a", "b", "c")))
    html = html_of(a_report([long, *(an_item(i) for i in range(1, 5))]))
    assert html.count("<svg") == 5


def test_nothing_known_is_shown_too() -> None:
    html = html_of(a_report([an_item(views=Views())]))
    assert "nothing to show" in html
    assert "Answers that differ most" not in html
    assert "nothing to show" in html_of(a_report([]))
