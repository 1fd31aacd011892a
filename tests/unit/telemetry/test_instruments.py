import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.instruments import Distribution, Instruments


def scrape(instruments: Instruments) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    registry = CollectorRegistry()
    registry.register(instruments)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_a_counter_counts_by_its_labels() -> None:
    instruments = Instruments()
    calls = instruments.counter("calls", "Calls.", ("model",))
    calls.cell("a").add()
    calls.cell("a").add(2)
    calls.cell("b").add()
    shown = scrape(instruments)
    assert shown["calls_total", (("model", "a"),)] == 3
    assert shown["calls_total", (("model", "b"),)] == 1


def test_a_histogram_cumulates_and_a_bound_belongs_to_its_bucket() -> None:
    instruments = Instruments()
    waits = instruments.histogram("waits", "Waits.", (), (1.0, 2.0))
    cell = waits.cell()
    cell.observe(1.0)
    cell.observe(1.5, times=2)
    cell.observe(9)
    shown = scrape(instruments)
    assert [shown["waits_bucket", (("le", le),)] for le in ("1.0", "2.0", "+Inf")] == [1, 3, 4]
    assert shown["waits_sum", ()] == 13
    assert shown["waits_count", ()] == 4


def test_a_gauge_is_read_when_it_is_scraped() -> None:
    instruments = Instruments()
    level = [1.0]
    instruments.gauge("level", "Level.", ("of",), lambda: [(("tank",), level[0])])
    level[0] = 7
    assert scrape(instruments)["level", (("of", "tank"),)] == 7


def test_the_labels_must_fit() -> None:
    family = Instruments().counter("calls", "Calls.", ("model",))
    with pytest.raises(ValueError, match="has the labels"):
        family.cell("a", "b")


def test_a_value_beyond_the_last_bound_is_kept() -> None:
    distribution = Distribution([1])
    distribution.observe(5)
    assert distribution.counts == [0, 1]
