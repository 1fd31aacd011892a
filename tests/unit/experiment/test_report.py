from gateway.experiment.figures import Figures
from gateway.experiment.report import HEADERS, html_of, markdown_of, plots_of, rows
from gateway.figures.quantiles import spread_of

FIGURES = [
    Figures("chat", router, replicas, 10, 1, spread_of([10.0, 20.0, 30.0]), 99.6, 0.5, 1.25)
    for replicas in (4, 16)
    for router in ("ours", "<theirs>")
]
NOTHING = Figures("chat", "down", 4, 3, 3, None, 0.0, 0.0, 0.0)


def test_every_run_has_a_row() -> None:
    found = rows([*FIGURES, NOTHING])
    assert found[0] == ("chat", "4", "ours", "10", "1", "20", "29", "30", "100", "50%", "1.25")
    assert found[-1][5:8] == ("", "", "")
    assert {len(row) for row in found} == {len(HEADERS)}


def test_the_table_as_markdown() -> None:
    lines = markdown_of(FIGURES).splitlines()
    assert len(lines) == 2 + len(FIGURES)
    assert all(line.count("|") == len(HEADERS) + 1 for line in lines)


def test_the_page_shows_a_chart_for_each_workload_and_figure() -> None:
    text = html_of([*FIGURES, NOTHING], "seed 1")
    assert text.count("<svg") == 2
    assert "&lt;theirs&gt;" in text
    assert "<theirs>" not in text


def test_each_workload_has_a_plot_in_a_file_of_its_own() -> None:
    ((name, plot),) = plots_of([*FIGURES, NOTHING])
    assert name == "routing-chat.svg"
    assert plot.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
