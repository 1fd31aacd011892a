"""The `deploy` entries of a configuration file, planned: which of them could not start?

A model whose description is not within reach is told of, not refused: the file may be checked
where the model is not.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.model_files import NotSeen, find_model
from gateway.config.deploy import CHECKPOINT, Deploy
from gateway.config.document import Document
from gateway.config.models import Model, Variant
from gateway.errors import PlanInvalid
from gateway.sizing.checkpoint import own_quantization
from gateway.sizing.deployment import Deployment, Engine
from gateway.sizing.gpus import find_gpu
from gateway.sizing.names import find_gguf, find_quantization
from gateway.sizing.plan import Plan
from gateway.sizing.planner import plans

_FLAG = re.compile(r"--([a-z][a-z-]*)")


@dataclass(frozen=True, slots=True)
class Planned:
    """One `deploy` entry. Exactly one is given: `plan`, `problem` or `unseen`."""

    path: str
    variant: str
    plan: Plan | None = None
    problem: str | None = None
    unseen: str | None = None


def planned(document: Document, folder: Path, environ: Mapping[str, str]) -> Iterator[Planned]:
    """Every entry in order; paths of models are relative to the file's `folder`."""
    for at, model in enumerate(document.models):
        for number, variant in enumerate(model.variants):
            if variant.deploy is None:
                continue
            path = f"models[{at}].variants[{number}].deploy"
            name = f"{model.name}:{variant.quantization}" if variant.quantization else model.name
            try:
                made = _plan(model, variant, variant.deploy, folder, environ)
            except NotSeen as unseen:
                yield Planned(path, name, unseen=unseen.public)
            except PlanInvalid as invalid:
                yield Planned(path, name, problem=_in_keys(invalid.public))
            else:
                if made.reason is None:
                    yield Planned(path, name, plan=made)
                else:
                    yield Planned(path, name, problem=f"cannot start: {_in_keys(made.reason)}")


def _in_keys(text: str) -> str:
    """Options of the command line as the keys of the file."""
    return _FLAG.sub(lambda found: found[1].replace("-", "_"), text)


def _plan(
    model: Model, variant: Variant, deploy: Deploy, folder: Path, environ: Mapping[str, str]
) -> Plan:
    if deploy.gpu is None:
        raise NotSeen("it runs on CPUs")
    if variant.engine not in tuple(Engine):
        raise PlanInvalid(f"memory of the engine {variant.engine} cannot be planned")
    gpu = find_gpu(deploy.gpu, deploy.gpu_memory_gib)
    name = deploy.model or variant.served_model or model.name
    beside = folder / name
    found = find_model(str(beside if beside.exists() else name), environ)
    is_quantized = found.gguf is not None or own_quantization(found.model) is not None
    quantization = deploy.quantization
    if quantization == CHECKPOINT:
        if not is_quantized:
            raise PlanInvalid(
                f"--quantization says {CHECKPOINT}, but the files of {name} are not quantized"
            )
        quantization = None
    elif quantization is None and not is_quantized:
        quantization = _named(variant)
    wanted = Deployment(
        gpu=gpu,
        gpus=deploy.gpus,
        engine=Engine(variant.engine),
        engine_version=deploy.engine_version,
        quantization=quantization,
        tensor_parallel=deploy.tensor_parallel,
        pipeline_parallel=deploy.pipeline_parallel,
        max_model_len=deploy.max_model_len,
        max_num_seqs=deploy.max_num_seqs,
        max_num_batched_tokens=deploy.max_num_batched_tokens,
        gpu_memory_utilization=deploy.gpu_memory_utilization,
        kv_cache_dtype=deploy.kv_cache_dtype,
        dtype=deploy.dtype,
        cpu_offload_gib=deploy.cpu_offload_gib,
    )
    return plans(found.model, wanted, found.weighed, found.gguf)[0]


def _named(variant: Variant) -> str:
    """The quantization that the variant's tag names; 16 bits when it names none."""
    is_llamacpp = Engine(variant.engine) is Engine.LLAMACPP
    find = find_gguf if is_llamacpp else find_quantization
    try:
        return find(variant.quantization or "none").name
    except PlanInvalid:
        return "f16" if is_llamacpp else "bf16"
