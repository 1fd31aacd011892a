from dataclasses import replace

from gateway.experiment.figures import Figures
from gateway.experiment.plan import Plan, rehearsed
from gateway.experiment.workload import WORKLOADS


def ran(*workloads: str, **more: object) -> dict[tuple[str, str], Figures]:
    plan = Plan(
        workloads=tuple(WORKLOADS[name] for name in workloads),
        policies=("least-loaded", "prefix-affinity"),
        fleets=(4,),
        duration_s=40.0,
        warmup_s=15.0,
    )
    plan = replace(plan, **more)  # type: ignore[arg-type]  # what a test changes
    found = list(rehearsed(plan))
    assert len(found) == plan.runs
    return {(one.workload, one.router): one for one in found}


def p50(figures: Figures) -> float:
    assert figures.ttft_ms is not None
    return figures.ttft_ms.p50


def test_the_same_plan_gives_the_same_figures() -> None:
    assert ran("shared") == ran("shared")


def test_affinity_is_ahead_where_prompts_are_reused_and_not_behind_where_they_are_not() -> None:
    found = ran("chat", "agents", "unique")
    for name in ("chat", "agents"):
        ours, other = found[name, "prefix-affinity"], found[name, "least-loaded"]
        assert p50(ours) < 0.8 * p50(other)
        assert ours.hit_ratio > other.hit_ratio
    ours, other = found["unique", "prefix-affinity"], found["unique", "least-loaded"]
    assert p50(ours) < 1.05 * p50(other)


def test_it_is_ahead_as_well_where_many_processes_share_the_calls() -> None:
    found = ran("chat", "agents", processes=6)
    for name in ("chat", "agents"):
        ours, other = found[name, "prefix-affinity"], found[name, "least-loaded"]
        assert p50(ours) < p50(other)
        assert ours.hit_ratio > other.hit_ratio
