from xml.etree import ElementTree as ET

from gateway.figures.chart import Axis, Series, chart
from gateway.figures.svg_file import standalone


def test_a_chart_is_a_file_that_any_page_can_show() -> None:
    drawn = chart("T & T", Axis("x"), Axis("y"), [Series("one", [(0, 1), (1, 2)])])
    root = ET.fromstring(standalone(drawn))  # it is ours
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    style, *_ = root
    assert "prefers-color-scheme: dark" in (style.text or "")
    assert root.attrib["aria-label"] == "T & T"
