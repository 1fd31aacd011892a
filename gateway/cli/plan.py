"""`gateway plan`: will this model fit on these GPUs, with how much room for whom?"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.calibration import deployed_on, read_calibration
from gateway.cli.model_files import FoundModel, find_model
from gateway.cli.recommendation import print_choices, read_prices
from gateway.cli.tables import print_table
from gateway.config.settings import environment
from gateway.errors import PlanInvalid
from gateway.sizing.deployment import Deployment, Engine
from gateway.sizing.gpus import find_gpu
from gateway.sizing.plan import Plan
from gateway.sizing.planner import plans
from gateway.sizing.recommend import Goal, Workload, learned, recommend
from gateway.sizing.report import one_plan, plan_data, start_command, summary, table
from gateway.sizing.speed import ASSUMED


def plan(
    model: Annotated[
        str,
        typer.Argument(
            help="A config.json, a folder with one, a .gguf file, or a name on the Hub."
        ),
    ],
    gpu: Annotated[
        list[str],
        typer.Option(help="What to run on, such as H100, L4 or RTX-4090; repeat it to compare."),
    ],
    gpus: Annotated[
        int | None, typer.Option(min=1, max=1024, help="How many of them for one replica.")
    ] = None,
    quantization: Annotated[
        str | None,
        typer.Option(
            "--quantization",
            "-q",
            help="Only this one: fp8, int8, awq, gptq, w4a16, nvfp4, ..., or q4_k_m of llama.cpp.",
        ),
    ] = None,
    kv_cache_dtype: Annotated[
        str, typer.Option(help="Element type of the KV cache: auto, fp8, ...")
    ] = "auto",
    max_model_len: Annotated[
        int | None,
        typer.Option(min=1, help="Longest prompt and answer, in tokens; default: the model's."),
    ] = None,
    max_num_seqs: Annotated[
        int | None, typer.Option(min=1, help="Sequences in one batch, or slots of llama.cpp.")
    ] = None,
    max_num_batched_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens in one batch.")
    ] = None,
    engine: Annotated[
        Engine | None, typer.Option(help="Default: vllm; llamacpp for a .gguf file.")
    ] = None,
    engine_version: Annotated[
        str | None, typer.Option(help="Such as 0.19; default: the newest known.")
    ] = None,
    tensor_parallel: Annotated[
        int | None,
        typer.Option(
            "--tensor-parallel", "--tensor-parallel-size", min=1, help="Default: all GPUs."
        ),
    ] = None,
    pipeline_parallel: Annotated[
        int | None,
        typer.Option("--pipeline-parallel", "--pipeline-parallel-size", min=1, help="Stages."),
    ] = None,
    gpu_memory_utilization: Annotated[
        float | None, typer.Option(min=0.01, max=1, help="The engine's share of each GPU.")
    ] = None,
    gpu_memory_gib: Annotated[
        float | None, typer.Option(min=0.1, help="Memory of a GPU that is not in the table.")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="What to compute in: auto, float16, bfloat16, float32.")
    ] = "auto",
    cpu_offload_gib: Annotated[
        float,
        typer.Option(
            "--cpu-offload-gib",
            "--cpu-offload-gb",
            min=0,
            help="Weights of each GPU kept in CPU memory.",
        ),
    ] = 0,
    enforce_eager: Annotated[bool, typer.Option("--enforce-eager", help="No CUDA graphs.")] = False,
    goal: Annotated[
        Goal | None, typer.Option(help="Recommend deployments instead: what matters most.")
    ] = None,
    requests_per_second: Annotated[
        float | None, typer.Option(min=0.001, help="The load; default: what one replica can.")
    ] = None,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Of a usual request.")] = 1024,
    output_tokens: Annotated[int, typer.Option(min=1, help="Of a usual answer.")] = 256,
    ttft_slo: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds that the first token may take.")
    ] = None,
    price: Annotated[
        list[str] | None, typer.Option(help="A GPU's price an hour, such as H100=2.5.")
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="A gateway bench --json result of this model, to learn real speeds from.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    calibrate_on: Annotated[
        str | None,
        typer.Option(help="What that ran on, such as 2xH100:fp8; default: what is asked for."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print data instead of a table.")] = False,
) -> None:
    """Plan GPU memory: what fits, how many tokens and sequences, which flags to start with."""
    if calibrate is not None and goal is None:
        raise typer.BadParameter("--calibrate is of use with --goal: memory needs no speeds")
    try:
        cards = [find_gpu(one, gpu_memory_gib) for one in gpu]
        found = find_model(model, environment())
        wanted = Deployment(
            gpu=cards[0],
            gpus=gpus or (tensor_parallel or 1) * (pipeline_parallel or 1),
            engine=engine or (Engine.LLAMACPP if found.gguf else Engine.VLLM),
            engine_version=engine_version,
            quantization=quantization,
            tensor_parallel=tensor_parallel,
            pipeline_parallel=pipeline_parallel,
            max_model_len=max_model_len,
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_batched_tokens,
            gpu_memory_utilization=gpu_memory_utilization,
            kv_cache_dtype=kv_cache_dtype,
            dtype=dtype,
            cpu_offload_gib=cpu_offload_gib,
            is_eager=enforce_eager,
        )
        if goal is not None:
            prices = {
                find_gpu(k, gpu_memory_gib).name: v for k, v in read_prices(price or ()).items()
            }
            efficiency = ASSUMED
            if calibrate is not None:
                measured = read_calibration(calibrate)
                ran_on = deployed_on(calibrate_on, wanted)
                efficiency = learned(found.model, ran_on, measured, found.weighed)
            load = Workload(prompt_tokens, output_tokens, requests_per_second, ttft_slo)
            choices = recommend(
                found.model, wanted, cards, load, goal,
                prices=prices, most_gpus=gpus or 8, weighed=found.weighed, efficiency=efficiency,
            )  # fmt: skip
            print_choices(model, choices, goal, efficiency, as_json=as_json)
            return
        made = [
            one
            for card in cards
            for one in plans(found.model, replace(wanted, gpu=card), found.weighed, found.gguf)
        ]
    except PlanInvalid as invalid:
        typer.echo(f"cannot plan: {invalid.public}", err=True)
        raise typer.Exit(2) from invalid
    if as_json:
        typer.echo(json.dumps({"plans": [_data(one, found) for one in made]}, indent=2))
        return
    for card in cards:
        _print(model, [one for one in made if one.gpu == card.name])


def _data(made: Plan, found: FoundModel) -> dict[str, object]:
    return plan_data(replace(made, sources=[found.source, *made.sources]))


def _print(model: str, made: list[Plan]) -> None:
    typer.echo(summary(model, made[0]))
    if len(made) == 1:
        print_table(("what", "each GPU", "note"), one_plan(made[0]))
    else:
        print_table(*table(made))
    for one in made:
        if one.reason is not None:
            typer.echo(f"{one.quantization} does not start: {one.reason}")
    best = next((one for one in made if one.starts), None)
    if best is not None:
        typer.echo(f"start {best.quantization} with:\n  {start_command(model, best)}")
