"""Plans for a model: one, or one for every quantization that the GPU supports."""

from dataclasses import replace

from gateway.errors import PlanInvalid
from gateway.sizing.architecture import Architecture
from gateway.sizing.checkpoint import own_quantization
from gateway.sizing.deployment import Deployment, Engine
from gateway.sizing.llamacpp import plan_llamacpp
from gateway.sizing.names import find_gguf, find_quantization
from gateway.sizing.plan import Plan, Subject, Weighed
from gateway.sizing.quantization import GGUF, QUANTIZATIONS, Quantization, is_offered
from gateway.sizing.tgi import plan_tgi
from gateway.sizing.versions import read_version
from gateway.sizing.vllm import plan_vllm
from gateway.sizing.weights import parameters

# of llama.cpp's many types, those that are worth a row of their own
_USUAL_GGUF = ("f16", "q8_0", "q6_k", "q5_k_m", "q5_0", "q4_k_m", "q4_0", "q3_k_m", "q2_k")


def plans(
    model: Architecture,
    wanted: Deployment,
    weighed: Weighed | None = None,
    gguf: Quantization | None = None,
) -> list[Plan]:
    """At least one. `gguf`: the type of a .gguf file, when that is the model.

    Raises PlanInvalid.
    """
    wanted.check()
    wanted = replace(wanted, dtype=_dtype(wanted.dtype))
    own = gguf or own_quantization(model)
    chosen = _chosen(wanted, own) if wanted.quantization else _all(model, wanted, own)
    made = []
    for quantization in chosen:
        subject = Subject(model, quantization, weighed, is_own=own is None or quantization is own)
        plan = _plan(subject, wanted)
        notes = [*plan.notes, *([quantization.note] if quantization.note else [])]
        source = weighed.source if weighed else "weights: counted from config.json"
        made.append(
            replace(
                plan,
                parameters=parameters(model),
                notes=notes,
                sources=[source, *plan.sources, f"accuracy: {quantization.loss_source}"],
            )
        )
    return made


def _dtype(name: str) -> str:
    names = {"half": "float16", "fp16": "float16", "bf16": "bfloat16", "float": "float32"}
    plain = {**names, "fp32": "float32"}.get(name, name)
    if plain not in ("auto", "float16", "bfloat16", "float32"):
        raise PlanInvalid(f'--dtype "{name}" is not known; auto, float16, bfloat16, float32 are')
    return plain


def _plan(subject: Subject, wanted: Deployment) -> Plan:
    if subject.quantization.name == "fp32" and wanted.dtype == "auto":
        wanted = replace(wanted, dtype="float32")
    match wanted.engine:
        case Engine.VLLM:
            return plan_vllm(subject, wanted)
        case Engine.TGI:
            return plan_tgi(subject, wanted)
        case _:
            return plan_llamacpp(subject, wanted)


def _chosen(wanted: Deployment, own: Quantization | None) -> list[Quantization]:
    """The one that was named, which a quantized checkpoint can only be itself."""
    name = wanted.quantization or ""
    if wanted.engine is Engine.LLAMACPP:
        found = find_gguf(name)
        if own is not None and own.name != found.name:
            raise PlanInvalid(f"the file is {own.name}: leave out --quantization {name}")
        return [own or found]
    if name == "compressed-tensors":
        if own is None:
            raise PlanInvalid(
                "compressed-tensors says nothing without a quantized checkpoint; name what it "
                "would hold: fp8, int8, w4a16 or nvfp4"
            )
        return [own]
    found = find_quantization(name)
    if own is None:
        return [found]
    if found.name != own.name:
        raise PlanInvalid(
            f"the checkpoint is quantized already, as {own.name}: leave out --quantization {name}"
        )
    return [own]


def _all(model: Architecture, wanted: Deployment, own: Quantization | None) -> list[Quantization]:
    if own is not None:
        return [own]
    if wanted.engine is Engine.LLAMACPP:
        return [one for one in GGUF if one.name in _USUAL_GGUF]
    offered = [one for one in QUANTIZATIONS if is_offered(one, wanted.gpu)]
    if wanted.engine is Engine.TGI:
        return [one for one in offered if one.tgi is not None]
    version = read_version(wanted.engine_version)
    return [
        one
        for one in offered
        if one.vllm is not None
        and (one.name != "bitsandbytes" or version.has_bitsandbytes)
        and (one.name != "mxfp4" or model.has_experts)
    ]
