from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.budget import WINDOW_S, RetryBudget


class Model:
    """One model of which every try fails, and that retries whenever it may."""

    def __init__(self, ratio: float = 0.2, floor: int = 10) -> None:
        self.budget = RetryBudget(0.0)
        self.ratio = ratio
        self.floor = floor
        self.requests: list[float] = []
        self.retries: list[float] = []

    def fail(self, now_s: float, most: int = 2) -> None:
        """A request whose first try fails, and every other too."""
        self.budget.count_request(now_s)
        self.requests.append(now_s)
        for _ in range(most):
            if not self.budget.has_room(now_s, ratio=self.ratio, floor=self.floor):
                return
            self.budget.count_retry(now_s)
            self.retries.append(now_s)

    def per_request(self, since_s: float) -> float:
        """Tries for each request from a moment on."""
        requests = sum(at >= since_s for at in self.requests)
        return 1 + sum(at >= since_s for at in self.retries) / requests


def test_a_quiet_model_may_retry_as_well() -> None:
    model = Model()
    model.fail(0.0, most=30)
    assert len(model.retries) == 10


def test_the_floor_is_there_again_when_the_window_has_moved_on() -> None:
    model = Model()
    model.fail(0.0, most=30)
    model.fail(WINDOW_S - 0.1, most=30)
    assert len(model.retries) == 10
    model.fail(WINDOW_S + 0.1, most=30)
    assert len(model.retries) == 20


def test_a_busy_model_may_retry_a_fifth_of_its_requests() -> None:
    model = Model()
    for number in range(1000):
        model.fail(number / 100)
    assert len(model.retries) == 200


def test_an_hour_of_silence_leaves_an_empty_window() -> None:
    model = Model(floor=0)
    for _ in range(100):
        model.budget.count_request(0.0)
    assert model.budget.has_room(0.5, ratio=0.2, floor=0)
    assert not model.budget.has_room(3600.0, ratio=0.2, floor=0)
    model.budget.count_retry(7200.0)
    model.budget.count_request(10_800.0)
    assert model.budget.has_room(10_800.0, ratio=1.0, floor=0)


def test_without_ratio_and_floor_nothing_is_tried_again() -> None:
    model = Model(ratio=0.0, floor=0)
    model.fail(0.0)
    assert model.retries == []


def test_when_everything_fails_a_request_costs_at_most_1_2_tries() -> None:
    model = Model()
    for number in range(6000):
        model.fail(number / 100)
    assert 1.19 < model.per_request(since_s=WINDOW_S) <= 1.2


@given(
    gaps_s=st.lists(st.floats(0, 15) | st.floats(0, 0.1), min_size=1, max_size=300),
    ratio=st.floats(0, 1),
    floor=st.integers(0, 20),
)
def test_however_they_come_retries_are_a_share_of_all_requests_or_the_floor_of_each_window(
    gaps_s: list[float], ratio: float, floor: int
) -> None:
    model = Model(ratio, floor)
    now_s = 0.0
    for gap_s in gaps_s:
        now_s += gap_s
        model.fail(now_s, most=5)
        # every retry lies in one of the disjoint windows that end with a retry
        windows = now_s // (WINDOW_S - 1) + 1
        bound = ratio * len(model.requests) + floor * windows
        assert len(model.retries) <= bound + 1e-6
