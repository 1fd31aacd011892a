"""`gateway demo`: the gateway with simulated engines. No GPU, no Redis, no configuration."""

import asyncio
import secrets
import socket
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Annotated

import typer
from pydantic import SecretStr

from gateway import __version__
from gateway.app import build
from gateway.cli.serve import listen, server_for
from gateway.config.document import Document
from gateway.config.settings import Settings, environment, load_settings
from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from gateway.telemetry.logs import configure_logging

# quantizations differ in speed, so that the choice can be felt
_ENGINES = {
    "llama-3.1-8b:bf16": (
        EngineOptions(engine="vllm", models=("demo-llama",), inter_token_s=0.012),
        EngineOptions(engine="vllm", models=("demo-llama",), inter_token_s=0.012),
    ),
    "llama-3.1-8b:fp8": (
        EngineOptions(engine="vllm", models=("demo-llama-fp8",), inter_token_s=0.007),
    ),
    "mistral-7b:awq-int4": (EngineOptions(engine="tgi", models=("demo-mistral",)),),
    "qwen-2.5-0.5b:q4_0": (
        EngineOptions(engine="llamacpp", models=("demo-qwen",), max_num_seqs=4),
    ),
}


def demo(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve with simulated engines: no GPU, no Redis, no configuration."""
    environ = environment()
    settings = load_settings(environ)
    listener = listen(host, port)
    configure_logging("warning", settings.log_style(sys.stderr, environ))
    asyncio.run(_serve(listener, settings, environ))


async def _serve(listener: socket.socket, settings: Settings, environ: Mapping[str, str]) -> None:
    async with AsyncExitStack() as stack:
        models: dict[str, dict[str, object]] = {}
        for name, engines in _ENGINES.items():
            running = [await stack.enter_async_context(serve_engine(one)) for one in engines]
            model, _, tag = name.partition(":")
            variant = {
                "quantization": tag,
                "engine": engines[0].engine,
                "served_model": engines[0].models[0],
                "replicas": [{"url": engine.url} for engine in running],
            }
            entry = models.setdefault(model, {"name": model, "aliases": [], "variants": []})
            entry["variants"] = [*_list(entry["variants"]), variant]
        models["llama-3.1-8b"]["aliases"] = ["gpt-4o"]
        document = Document.model_validate({"models": list(models.values())})
        given = settings.admin_key
        admin_key = given or SecretStr(secrets.token_urlsafe(9))
        settings = settings.model_copy(update={"admin_key": admin_key})
        gateway = build(document, settings, environ=environ)
        typer.echo(_welcome(listener, None if given else admin_key), err=True)
        await server_for(gateway).serve([listener])


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _welcome(listener: socket.socket, admin_key: SecretStr | None) -> str:
    """`admin_key`: made for this run; None: the operator's own, which is not shown."""
    shown = "$GATEWAY_ADMIN_KEY" if admin_key is None else admin_key.get_secret_value()
    url = f"http://localhost:{listener.getsockname()[1]}"
    return f"""\
sluicegate {__version__}: demo at {url}, all engines simulated

  models   llama-3.1-8b (bf16, fp8; also as gpt-4o) on vLLM, mistral-7b on TGI,
           qwen-2.5-0.5b on llama.cpp
  page     {url}/dashboard (admin key: {shown})

try
  curl {url}/v1/models
  curl -N {url}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{"model": "llama-3.1-8b:fp8", "stream": true,
         "messages": [{{"role": "user", "content": "Hello"}}]}}'
  any OpenAI SDK with base_url="{url}/v1" and any api_key

put a real engine behind it
  echo 'models: [{{name: my-model, engine: vllm, url: "http://localhost:8000"}}]' > gateway.yaml
  {_command()} serve --config gateway.yaml

Ctrl-C stops it; each request prints one line.
"""


def _command() -> str:
    return sys.argv[0] if sys.argv[0].startswith(".venv") else "gateway"
