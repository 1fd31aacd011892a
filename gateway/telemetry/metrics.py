"""The gateway's metrics: their names, labels and buckets.

Names of the GenAI semantic conventions where they cover the thing, `gateway_` elsewhere.

Source: OpenTelemetry semantic conventions for generative AI, metrics.
"""

from collections.abc import Callable, Collection
from typing import Final

from gateway.telemetry.bounds import (
    DURATION_S,
    ESTIMATE_RATIO,
    INTER_TOKEN_S,
    PER_OUTPUT_TOKEN_S,
    STORE_S,
    TTFT_S,
    USED_TOKENS,
    WAIT_S,
    WAKE_S,
)
from gateway.telemetry.callers import Callers
from gateway.telemetry.cells import Cells, Labels, OwnCells, Readings
from gateway.telemetry.counted import Counted
from gateway.telemetry.exposition import written
from gateway.telemetry.instruments import Count, Distribution, Instruments
from gateway.telemetry.mirror_metrics import MirrorMetrics
from gateway.telemetry.negotiation import Format

MAX_CALLERS: Final = 100
ROUTE: Final = ("model", "variant", "replica")

Route = tuple[str, str, str]


class OutcomeCells:
    """What is recorded of calls that ended in one way."""

    __slots__ = ("duration", "requests")

    def __init__(self, requests: Count, duration: Distribution) -> None:
        self.requests = requests
        self.duration = duration


class RouteCells:
    """Everything that is recorded for one replica of one variant."""

    __slots__ = (
        "cached",
        "input",
        "inter_token",
        "output",
        "per_output_token",
        "ttft",
        "used_input",
        "used_output",
    )

    def __init__(
        self,
        ttft: Distribution,
        inter_token: Distribution,
        per_output_token: Distribution,
        tokens: tuple[Count, Count, Count],
        used: tuple[Distribution, Distribution],
    ) -> None:
        self.ttft = ttft
        self.inter_token = inter_token
        self.per_output_token = per_output_token
        self.input, self.output, self.cached = tokens
        self.used_input, self.used_output = used


class EstimateCells:
    """How estimates of one model's tokens compare to what was counted."""

    __slots__ = ("output", "prompt")

    def __init__(self, prompt: Distribution, output: Distribution) -> None:
        self.prompt = prompt
        self.output = output


class Metrics:
    """Where the parts of the gateway record, and what `GET /metrics` answers.

    With shared `cells` that is the sum over all sibling workers. `max_callers`: how many callers
    have series of their own.
    """

    def __init__(self, cells: Cells | None = None, *, max_callers: int = MAX_CALLERS) -> None:
        cells = cells or OwnCells()
        self._callers = Callers(cells, max_callers)
        self._instruments = Instruments(cells)
        new = self._instruments
        self.requests = new.counter(
            "gateway_requests", "Calls answered, by how they ended.", (*ROUTE, "outcome")
        )
        self.attempts = new.counter(
            "gateway_attempts", "Tries on a replica, by how they ended.", (*ROUTE, "outcome")
        )
        self.choices = new.counter(
            "gateway_choices",
            "Calls that several variants could answer, by the one they went to first, and why. "
            "The model is the one asked for, or the split.",
            ("model", "variant", "reason"),
        )
        self.retries_refused = new.counter(
            "gateway_retries_refused",
            "Failures that stood although another replica was there: no `attempts`, no time "
            "(`deadline`) or no `budget` was left. The model is the one asked for.",
            ("model", "reason"),
        )
        self.hedges = new.counter(
            "gateway_hedges",
            "Second tries beside late calls: they answered first (`won`), or not.",
            ("model", "outcome"),
        )
        self.resumes = new.counter(
            "gateway_resumes",
            "Streams that broke after content: the way they went on, or why they did not.",
            (*ROUTE, "outcome"),
        )
        self.queue_refusals = new.counter(
            "gateway_queue_refusals",
            "Calls refused because every replica was busy: the queue was `full`, the wait would "
            "have been too `long`, the longest wait was `over`, or a caller with fewer waiting "
            "calls took the place (`displaced`).",
            ("model", "variant", "priority", "reason"),
        )
        self.queue_wait = new.histogram(
            "gateway_queue_wait_seconds",
            "How long calls waited in the gateway for a replica, those that got one.",
            ("model", "variant", "priority"),
            WAIT_S,
        )
        self.wake_wait = new.histogram(
            "gateway_wake_wait_seconds",
            "How long calls waited for engines that were away, those that got a replica.",
            ("model", "variant"),
            WAKE_S,
        )
        self.duration = new.histogram(
            "gen_ai_server_request_duration_seconds",
            "From the call's arrival to its last byte.",
            (*ROUTE, "outcome"),
            DURATION_S,
        )
        self._ttft = new.histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From the call's arrival to the first content, streamed calls only; without the time "
            "that it waited for engines that were away.",
            ROUTE,
            TTFT_S,
        )
        self._inter_token = new.histogram(
            "gateway_inter_token_latency_seconds",
            "Between two events with content of one stream.",
            ROUTE,
            INTER_TOKEN_S,
        )
        self._per_output_token = new.histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Time per token after the first one, of each streamed answer that came whole.",
            ROUTE,
            PER_OUTPUT_TOKEN_S,
        )
        self._used = new.histogram(
            "gen_ai_client_token_usage",
            "Tokens that one call read (`input`) or was written (`output`).",
            ("model", "variant", "type"),
            USED_TOKENS,
        )
        self._caller_requests = new.counter(
            "gateway_caller_requests",
            "Calls answered, by who called and how they ended.",
            ("caller", "outcome"),
        )
        self._caller_tokens = new.counter(
            "gateway_caller_tokens",
            "Tokens read and written for a caller; cached is a part of input.",
            ("caller", "type"),
        )
        self._tokens = new.counter(
            "gateway_tokens",
            "Tokens read and written; cached is a part of input.",
            (*ROUTE, "type"),
        )
        self.reloads = new.counter(
            "gateway_config_reloads", "Changes of the configuration file.", ("result",)
        )
        self.transitions = new.counter(
            "gateway_replica_transitions",
            "Changes of a replica's condition.",
            (*ROUTE, "state", "reason"),
        )
        self.refusals = new.counter(
            "gateway_limit_refusals",
            "Calls that a limit refused: whose, and which.",
            ("scope", "limit"),
        )
        self.store_round_trip = new.histogram(
            "gateway_limit_store_seconds",
            "One question to Redis, which may be about many calls.",
            (),
            STORE_S,
        )
        self.store_failures = new.counter(
            "gateway_limit_store_failures", "Questions that Redis did not answer.", ("reason",)
        )
        self.settlements_dropped = new.counter(
            "gateway_limit_settlements_dropped",
            "Settlements given up because too many were waiting for Redis; their tokens stay held.",
        )
        self.discovery_failures = new.counter(
            "gateway_discovery_failures",
            "Look-ups of a variant's replicas that failed; those found last went on serving.",
            ("model", "variant"),
        )
        self.spans = new.counter(
            "gateway_trace_spans",
            "Spans that were kept: the collector took them (`sent`) or not (`failed`), or too many "
            "were waiting for it (`dropped`).",
            ("result",),
        )
        self.mirrors = MirrorMetrics(new)
        self._estimates = new.histogram(
            "gateway_token_estimate_ratio",
            "Tokens estimated when a call came, divided by those counted when it was over.",
            ("model", "part"),
            ESTIMATE_RATIO,
        )
        self._estimate_cells: dict[str, EstimateCells] = {}
        self._routes: dict[Route, RouteCells] = {}
        self._outcomes: dict[tuple[Route, str], OutcomeCells] = {}

    def route(self, route: Route) -> RouteCells:
        """The cells of one replica: `route` is model, variant and replica."""
        cells = self._routes.get(route)
        if cells is None:
            cells = self._routes[route] = RouteCells(
                self._ttft.cell(*route),
                self._inter_token.cell(*route),
                self._per_output_token.cell(*route),
                (
                    self._tokens.cell(*route, "input"),
                    self._tokens.cell(*route, "output"),
                    self._tokens.cell(*route, "cached"),
                ),
                (
                    self._used.cell(route[0], route[1], "input"),
                    self._used.cell(route[0], route[1], "output"),
                ),
            )
        return cells

    def ended(self, route: Route, outcome: str) -> OutcomeCells:
        """The cells of calls that ended in this way; the route is empty when they got none."""
        cells = self._outcomes.get((route, outcome))
        if cells is None:
            cells = self._outcomes[route, outcome] = OutcomeCells(
                self.requests.cell(*route, outcome), self.duration.cell(*route, outcome)
            )
        return cells

    def routes(self) -> set[Labels]:
        """The replicas that anything was counted for by this process: model, variant, replica."""
        return {route for route in self._instruments.known(ROUTE) if all(route)}

    def forget(self, routes: Collection[Labels]) -> None:
        """Give up what was counted for replicas that are no more."""
        self._instruments.forget(ROUTE, routes)
        for route in [one for one in self._routes if one in routes]:
            del self._routes[route]
        for ended in [one for one in self._outcomes if one[0] in routes]:
            del self._outcomes[ended]

    def called(self, caller: str, outcome: str, read: int, written: int, cached: int) -> None:
        """A call of this caller has ended, with so many tokens; one without a name had no key."""
        name = self._callers.shown(caller)
        self._caller_requests.cell(name, outcome).add()
        for kind, tokens in (("input", read), ("output", written), ("cached", cached)):
            if tokens:
                self._caller_tokens.cell(name, kind).add(tokens)

    def estimates(self, model: str) -> EstimateCells:
        """The cells of one model's estimates."""
        cells = self._estimate_cells.get(model)
        if cells is None:
            cells = self._estimate_cells[model] = EstimateCells(
                self._estimates.cell(model, "prompt"), self._estimates.cell(model, "output")
            )
        return cells

    def gauge(self, name: str, text: str, labels: Labels, read: Callable[[], Readings]) -> None:
        """Show a value that another part keeps, and that all workers see alike."""
        self._instruments.gauge(name, text, labels, read)

    def level(self, name: str, text: str, labels: Labels, read: Callable[[], Readings]) -> None:
        """Show a value that another part keeps, and of which every worker has its share."""
        self._instruments.level(name, text, labels, read)

    def counted(self) -> Counted:
        """What was counted of calls until now, over all workers."""
        totals = self._instruments.totals
        return Counted(
            requests={labels: count for labels, (count,) in totals(self.requests).items()},
            tokens={labels: count for labels, (count,) in totals(self._tokens).items()},
            ttft=totals(self._ttft),
            inter_token=totals(self._inter_token),
        )

    def level_sums(self, name: str) -> dict[Labels, float]:
        """A level as it is now, over all workers; zeros are left out."""
        self.tell_levels()
        return self._instruments.level_sums(name)

    def tell_levels(self) -> None:
        """Let sibling workers know our share; every `LEVELS_EVERY_S` while we live."""
        self._callers.look_again()
        self._instruments.tell_levels()

    def render(self, kind: Format = Format.PROMETHEUS) -> bytes:
        """All of it as text."""
        return written(self._instruments.shown(), kind)
