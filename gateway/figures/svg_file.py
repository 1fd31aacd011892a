"""A chart as a file of its own, for light and dark pages that show it as an image. No I/O."""

from gateway.figures.page import CHART_STYLE, INKS

_STYLE = f"<style>{INKS}{CHART_STYLE}</style>"


def standalone(svg: str) -> str:
    """`svg`: an element as `chart` draws it."""
    head, _, rest = svg.partition(">")
    named = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return f"{named}>\n{_STYLE}{rest}\n"
