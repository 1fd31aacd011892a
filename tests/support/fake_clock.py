"""A clock that moves only when told."""


class FakeClock:
    """Both clocks start at `now`; `pass_s` moves them together."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def now_s(self) -> float:
        return self.now

    def unix_s(self) -> float:
        return self.now + 1_700_000_000

    def pass_s(self, seconds: float) -> None:
        self.now += seconds
