import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.cells import SharedCells
from gateway.telemetry.exemplars import Mark
from gateway.telemetry.exposition import written
from gateway.telemetry.instruments import Distribution, Instruments
from gateway.telemetry.negotiation import Format
from tests.support.fake_clock import FakeClock


def scrape(instruments: Instruments) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = written(instruments.shown(), Format.PROMETHEUS).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
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
    assert distribution.total == 5


def test_a_distribution_of_its_own_keeps_no_traces() -> None:
    Distribution([1]).exemplify(5, Mark(1, 2, 3.0))


def workers(count: int) -> list[Instruments]:
    memory = memoryview(bytearray(count * 4096))
    clock = FakeClock()
    return [
        Instruments(SharedCells(memory, slot, clock.now_s, slot_bytes=4096))
        for slot in range(count)
    ]


def test_any_worker_shows_the_sum_over_all() -> None:
    siblings = workers(3)
    for one in siblings:
        one.counter("calls", "Calls.", ("model",)).cell("a").add(2)
        one.histogram("waits", "Waits.", (), (1.0,)).cell().observe(0.5)
    for one in siblings:
        shown = scrape(one)
        assert shown["calls_total", (("model", "a"),)] == 6
        assert shown["waits_bucket", (("le", "1.0"),)] == 3
        assert shown["waits_sum", ()] == 1.5


def test_a_level_is_the_sum_of_what_the_workers_told_and_a_gauge_is_the_scraped_ones() -> None:
    one, other = workers(2)
    for instruments, busy in ((one, 1.0), (other, 2.0)):
        readings = [(("a",), busy), (("b",), 0.0)]
        instruments.level("busy", "Busy.", ("of",), readings.copy)
        instruments.gauge("full", "Full.", ("of",), readings.copy)
    other.tell_levels()
    shown = scrape(one)
    assert shown["busy", (("of", "a"),)] == 3
    assert shown["busy", (("of", "b"),)] == 0
    assert shown["full", (("of", "a"),)] == 1
