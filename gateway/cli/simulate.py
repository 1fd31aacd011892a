"""`gateway simulate`: one simulated engine."""

import asyncio
import signal
from typing import Annotated

import anyio
import typer

from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.faults import FAULTS
from gateway.simulator.options import EngineKind, EngineOptions
from gateway.simulator.serve import serve_engine

_DEFAULTS = EngineOptions()
_LAST_WORDS_S = 1.0
_FLUSH_S = 0.05  # for the last bytes on their way


def simulate(
    engine: Annotated[EngineKind, typer.Option(help="Which engine's API it speaks.")] = "vllm",
    model: Annotated[
        list[str] | None, typer.Option(help="A model name; repeat it for aliases [simulated].")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    version: Annotated[str, typer.Option(help="The version it claims.")] = _DEFAULTS.version,
    seed: Annotated[int, typer.Option(help="Other seeds say other things.")] = _DEFAULTS.seed,
    api_key: Annotated[str | None, typer.Option(help="The key it asks for.")] = None,
    max_model_len: Annotated[int, typer.Option(min=1, help="Tokens in a context.")] = (
        _DEFAULTS.max_model_len
    ),
    max_num_seqs: Annotated[int, typer.Option(min=1, help="Requests that run at once.")] = (
        _DEFAULTS.max_num_seqs
    ),
    max_queued: Annotated[
        int | None, typer.Option(min=0, help="Requests that may wait; absent: any number.")
    ] = None,
    kv_cache_tokens: Annotated[int, typer.Option(min=16, help="Size of the KV cache.")] = (
        _DEFAULTS.kv_cache_tokens
    ),
    prefill_ms_per_token: Annotated[
        float, typer.Option(min=0, help="For each prompt token that is not cached.")
    ] = round(_DEFAULTS.prefill_s_per_token * 1000, 4),
    inter_token_ms: Annotated[float, typer.Option(min=0, help="Between tokens, alone.")] = (
        _DEFAULTS.inter_token_s * 1000
    ),
    inter_token_ms_per_running: Annotated[
        float, typer.Option(min=0, help="More for each request that runs.")
    ] = _DEFAULTS.inter_token_s_per_running * 1000,
    answer_tokens: Annotated[
        int, typer.Option(min=1, help="Length of an answer when max_tokens is absent.")
    ] = _DEFAULTS.answer_tokens,
    unicode: Annotated[bool, typer.Option(help="Say characters of several bytes, too.")] = False,
    drain_s: Annotated[
        float, typer.Option(min=0, help="At SIGTERM, answers may come to their end for so long.")
    ] = _DEFAULTS.drain_s,
    adapter: Annotated[
        list[str] | None, typer.Option(help="A LoRA adapter that it starts with (vLLM).")
    ] = None,
    loads_adapters: Annotated[
        bool, typer.Option(help="It can be told to load and unload others (vLLM).")
    ] = False,
    fault: Annotated[
        list[str] | None, typer.Option(help="A fault for every request, such as reset-after=3.")
    ] = None,
) -> None:
    """Run one simulated engine: no GPU, honest timing, faults on demand.

    Faults for one request: the header `x-simulate-fault`; for a time: POST /simulate/faults.
    """
    options = EngineOptions(
        engine=engine,
        models=tuple(model or _DEFAULTS.models),
        version=version,
        seed=seed,
        api_key=api_key,
        max_model_len=max_model_len,
        max_num_seqs=max_num_seqs,
        max_queued=max_queued,
        kv_cache_tokens=kv_cache_tokens,
        prefill_s_per_token=prefill_ms_per_token / 1000,
        inter_token_s=inter_token_ms / 1000,
        inter_token_s_per_running=inter_token_ms_per_running / 1000,
        answer_tokens=answer_tokens,
        unicode=unicode,
        drain_s=drain_s,
        adapters=tuple(adapter or ()),
        loads_adapters=loads_adapters,
    )
    asyncio.run(_serve(options, host, port, fault or []))


async def _serve(options: EngineOptions, host: str, port: int, faults: list[str]) -> None:
    try:
        # before anybody can know that it runs: who knows may also end it
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with serve_engine(options, host=host, port=port) as engine:
                for fault in faults:
                    engine.inject(fault)
                typer.echo(_welcome(options, engine.url), err=True)
                await anext(aiter(signals))
                await _end(engine)
    except* OSError as failed:
        typer.echo(f"cannot listen on {host} port {port}: {_first(failed)}", err=True)
        raise typer.Exit(1) from None
    except* ValueError as wrong:
        typer.echo(str(_first(wrong)), err=True)
        raise typer.Exit(2) from None


async def _end(engine: SimulatedEngine) -> None:
    """Let answers come to their end while there is time, then end them as the engine would."""
    engine.is_draining = True
    with anyio.move_on_after(engine.options.drain_s):
        await engine.idle()
    engine.abort_all()
    with anyio.move_on_after(_LAST_WORDS_S):
        await engine.idle()
    await anyio.sleep(_FLUSH_S)


def _first(error: BaseException) -> BaseException:
    """What is at the bottom of nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _welcome(options: EngineOptions, url: str) -> str:
    name = options.models[0]
    body = f'{{"model": "{name}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    if options.engine == "tgi":
        body = body.replace(f'"{name}"', '"tgi"')
    return (
        f"simulated {options.engine} at {url}, model {name}\n\n"
        f"  curl {url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'\n\n"
        f"faults: -H 'x-simulate-fault: reset-after=3' or POST {url}/simulate/faults\n"
        f"  {', '.join(FAULTS)}"
    )
