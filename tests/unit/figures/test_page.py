import re

from gateway.figures.page import charts, heading, page, paragraph, table


def test_a_page_stands_alone() -> None:
    html = page("Load <test>", "of & by", [heading("A"), paragraph("b"), charts(["<svg></svg>"])])
    assert html.startswith("<!doctype html>")
    assert "<title>Load &lt;test&gt;</title>" in html
    assert '<p class="lead">of &amp; by</p>' in html
    assert not re.search(r"<script|src=|href=|@import|url\(", html)


def test_text_is_never_markup() -> None:
    assert heading("<i>") == "<h2>&lt;i&gt;</h2>"
    assert paragraph("<i>", "warn") == '<p class="warn">&lt;i&gt;</p>'
    shown = table(("<a>", "b"), [("<x>", "1")], "words")
    assert "<th>&lt;a&gt;</th><th>b</th>" in shown
    assert "<td>&lt;x&gt;</td><td>1</td>" in shown
    assert 'class="words"' in shown
    assert "<table>" in table(("a",), [("1",)])
