"""The options of `gateway bench` as a test that can be run; every contradiction is told."""

from dataclasses import dataclass, field
from pathlib import Path

from gateway.cli.target import object_of, text_of
from gateway.loadtest.arrivals import Arrival, ClosedLoop, Extent, Load, OpenLoop, Replay
from gateway.loadtest.bench import Setting
from gateway.loadtest.lengths import read_length
from gateway.loadtest.requests import Asking, FromFile, Operation, Prompts, Synthetic, Traced
from gateway.loadtest.slo import Slo
from gateway.loadtest.sweep import Listed, Search
from gateway.loadtest.trace import read_trace
from gateway.remote.prompt_file import read_prompts
from gateway.remote.wrong_input import WrongInput

DEFAULT_RATE = 4.0
DEFAULT_REQUESTS = 100
DEFAULT_SWEEP_S = 20.0
DEFAULT_PROMPT_TOKENS = "256"
DEFAULT_OUTPUT_TOKENS = "64"


@dataclass(frozen=True, slots=True)
class Given:
    """What was written on the command line; None: nothing."""

    operation: Operation = "chat"
    rate: float | None = None
    arrival: Arrival = "poisson"
    burstiness: float = 0.25
    concurrency: int | None = None
    think_s: float = 0.0
    trace: Path | None = None
    speed: float = 1.0
    sweep: str | None = None
    requests: int | None = None
    duration_s: float | None = None
    prompt_tokens: str | None = None
    output_tokens: str | None = None
    shared_prefix_tokens: int = 0
    prompts: Path | None = None
    ignore_eos: bool = True
    body: str | None = None
    slo: Slo = field(default_factory=Slo)
    attainment: float = 0.99
    warmup: int = 0


def setting_of(given: Given, model: str, seed: str) -> tuple[Setting, dict[str, object]]:
    """The test, and its prompts in words. Raises WrongInput."""
    _check(given)
    load = _load(given)
    prompts, words = _prompts(given, load, seed)
    asking = Asking(
        model=model,
        operation=given.operation,
        ignores_end=given.ignore_eos and not isinstance(prompts, FromFile),
        more=object_of(given.body, "--body"),
    )
    setting = Setting(
        asking=asking,
        prompts=prompts,
        load=load,
        extent=_extent(given),
        seed=seed,
        slo=given.slo,
        rates=_rates(given),
        attainment=given.attainment,
        warmup=given.warmup,
    )
    return setting, words


def _check(given: Given) -> None:
    loads = {
        "--concurrency": given.concurrency is not None,
        "--trace": given.trace is not None,
        "--rate": given.rate is not None and given.sweep is None,
        "--sweep": given.sweep is not None,
    }
    chosen = [option for option, is_given in loads.items() if is_given]
    if len(chosen) > 1:
        raise WrongInput(f"{' and '.join(chosen)} exclude one another: name one load")
    lengths = given.prompt_tokens is not None or given.shared_prefix_tokens
    if given.prompts is not None and lengths:
        raise WrongInput("--prompts brings its own prompts: leave out the numbers of their tokens")
    if given.trace is not None and (given.prompts or given.prompt_tokens or given.output_tokens):
        raise WrongInput("--trace says how long prompts and answers are: leave their options out")


def _load(given: Given) -> Load:
    if given.concurrency is not None:
        return ClosedLoop(given.concurrency, given.think_s)
    if given.trace is not None:
        entries = read_trace(text_of(given.trace, "--trace"), given.trace.name)
        return Replay(entries, given.speed)
    return OpenLoop(given.rate or DEFAULT_RATE, given.arrival, given.burstiness)


def _prompts(given: Given, load: Load, seed: str) -> tuple[Prompts, dict[str, object]]:
    shared = given.shared_prefix_tokens
    if given.trace is not None and isinstance(load, Replay):
        words = {"prompts": "synthetic, of the trace's lengths", "trace": given.trace.name}
        return Traced(seed, load.entries, shared_tokens=shared), {**words, "shared_tokens": shared}
    if given.prompts is not None:
        output = given.output_tokens
        length = None if output is None else read_length(output, "--output-tokens")
        read = read_prompts(text_of(given.prompts, "--prompts"), given.prompts.name)
        told = {"prompts": given.prompts.name, "count": len(read), "output_tokens": output}
        return FromFile(seed, read, length), told
    length_in = read_length(given.prompt_tokens or DEFAULT_PROMPT_TOKENS, "--prompt-tokens")
    length_out = read_length(given.output_tokens or DEFAULT_OUTPUT_TOKENS, "--output-tokens")
    return Synthetic(seed, length_in, length_out, shared_tokens=shared), {
        "prompts": "synthetic",
        "prompt_tokens": str(length_in),
        "output_tokens": str(length_out),
        "shared_tokens": shared,
    }


def _extent(given: Given) -> Extent:
    if given.requests is not None or given.duration_s is not None or given.trace is not None:
        return Extent(given.requests, given.duration_s)
    if given.sweep is not None:
        return Extent(duration_s=DEFAULT_SWEEP_S)
    return Extent(requests=DEFAULT_REQUESTS)


def _rates(given: Given) -> Search | Listed | None:
    if given.sweep is None:
        return None
    if given.sweep == "auto":
        return Search(given.rate or 1.0)
    try:
        rates = tuple(float(part) for part in given.sweep.split(","))
    except ValueError:
        rates = ()
    if not rates or not all(0 < rate < 1e6 for rate in rates):
        raise WrongInput(f'--sweep "{given.sweep}": write auto, or rates such as 1,2,4,8')
    return Listed(rates)
