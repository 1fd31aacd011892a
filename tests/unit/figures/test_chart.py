from xml.etree import ElementTree

from gateway.figures.chart import MAX_DOTS, Axis, Mark, Point, Series, chart, thinned

X, Y = Axis("seconds", low=0), Axis("ms", low=0)
LINE: list[Point] = [(0.0, 1.0), (1.0, 3.0), (2.0, 2.0)]


def drawn(svg: str) -> ElementTree.Element:
    """It is well-formed, whatever is in it."""
    return ElementTree.fromstring(svg)


def test_a_chart_has_its_title_its_axes_and_its_lines() -> None:
    svg = chart("Latency", X, Y, [Series("p50", LINE), Series("p99", LINE)])
    texts = [one.text for one in drawn(svg).iter("text")]
    for text in ("Latency", "seconds", "ms", "p50", "p99", "0"):
        assert text in texts
    assert svg.count('class="line"') == 2
    assert svg.count("<circle") == 6
    assert "script" not in svg
    assert "http" not in svg


def test_a_single_series_without_a_name_needs_no_legend() -> None:
    assert "<rect" not in chart("t", X, Y, [Series("", LINE)])


def test_what_people_named_is_text_and_nothing_else() -> None:
    svg = chart("<b>&", Axis('"x"'), Y, [Series("<script>", LINE)], [Mark("<i>", 1.0)])
    drawn(svg)
    assert "<script>" not in svg
    assert "<i>" not in svg


def test_nothing_to_draw_is_said() -> None:
    assert chart("Latency <s>", X, Y, [Series("a", [])]) == (
        '<p class="none">Latency &lt;s&gt;: nothing to show.</p>'
    )


def test_dots_are_thinned_out() -> None:
    many = [(float(i), float(i)) for i in range(10 * MAX_DOTS)]
    svg = chart("t", X, Y, [Series("a", many, "dots")])
    assert svg.count("<circle") == MAX_DOTS
    assert thinned(LINE, 3) is LINE


def test_steps_go_along_before_they_go_up() -> None:
    svg = chart(
        "t", Axis("x", low=0, high=2), Axis("y", low=0, high=4), [Series("", LINE, "steps")]
    )
    (path,) = [one.get("d") for one in drawn(svg).iter("path") if one.get("class") == "line"]
    assert path is not None
    assert path.count("H") == path.count("V") == 2


def test_a_long_line_has_no_dots() -> None:
    assert "<circle" not in chart("t", X, Y, [Series("", [(float(i), 1.0) for i in range(50)])])


def test_a_logarithmic_axis_takes_zero_too() -> None:
    points = [(0.0, 0.0), (1.0, 1.0), (2.0, 1000.0)]
    svg = chart("t", X, Axis("ms", is_log=True), [Series("", points)])
    texts = [one.text for one in drawn(svg).iter("text")]
    assert "10" in texts
    drawn(chart("t", X, Axis("ms", is_log=True), [Series("", [(0.0, 0.0)])]))


def test_marks_lie_at_their_values_and_inside() -> None:
    svg = chart("t", X, Y, [Series("", LINE)], [Mark("limit", 50.0), Mark("knee", 9.0, "x")])
    marks = [one.get("d") for one in drawn(svg).iter("path") if one.get("class") == "mark"]
    assert len(marks) == 2
    texts = [one.text for one in drawn(svg).iter("text")]
    assert {"limit", "knee", "50"} <= set(texts)


def test_a_legend_that_is_too_long_goes_on_below() -> None:
    series = [Series("a rather long name of a series " + str(i), LINE) for i in range(4)]
    tops = {one.get("y") for one in drawn(chart("t", X, Y, series)).iter("rect")}
    assert len(tops) > 1
