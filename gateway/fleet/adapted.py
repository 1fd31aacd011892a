"""From the adapters of variants to models that clients ask for. Pure.

An adapter's variants are those of the model that have it, under its name: they have the same
tags, engines and limits, and `of` says whose replicas answer.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway.config import models
from gateway.fleet.loadable import Adapter

if TYPE_CHECKING:
    from gateway.fleet.catalog import Model, Variant

# whom an adapter can be asked for by name, and who can be told to load one
BY_NAME: Final = ("vllm", "tgi", "openai")
LOADS: Final = ("vllm",)


def adapters_of(given: models.Variant) -> tuple[Adapter, ...]:
    """Those that are listed, and those that `deploy` starts its engines with."""
    found = {one.name: Adapter(one.name, one.path) for one in given.adapters}
    if given.deploy is not None and given.engine in BY_NAME:
        for deployed in given.deploy.lora_adapters:
            found.setdefault(deployed.name, Adapter(deployed.name))
    return tuple(found.values())


def place_of(given: models.Model, name: str) -> str:
    """Where an adapter of this model stands first, below the model's path."""
    for number, variant in enumerate(given.variants):
        deployed = () if variant.deploy is None else variant.deploy.lora_adapters
        listed = [one.name for one in variant.adapters]
        started = [one.name for one in deployed]
        for key, names in (("adapters", listed), ("deploy.lora_adapters", started)):
            if name in names:
                return f"variants[{number}].{key}[{names.index(name)}].name"
    raise KeyError(name)


def problems_of(given: models.Variant, path: str) -> Iterator[str]:
    """What is wrong with a variant's adapters."""
    seen: set[str] = set()
    for number, one in enumerate(given.adapters):
        where = f"{path}.adapters[{number}]"
        if given.engine not in BY_NAME:
            yield (
                f"{where}: {given.engine} mixes all its adapters into every answer; "
                f"adapters are asked for by name on {', '.join(BY_NAME)}"
            )
        elif one.path is not None and given.engine not in LOADS:
            yield f"{where}.path: only {', '.join(LOADS)} can be told to load an adapter"
        if one.name in seen:
            yield f'{where}.name: "{one.name}" is there already'
        seen.add(one.name)


def adapted(model: "Model", make: type["Model"]) -> Iterator["Model"]:
    """The models that this model's adapters are, in the order in which they are listed."""
    by_name: dict[str, list[Variant]] = {}
    for variant in model.variants:
        for adapter in variant.adapters:
            tagged = f"{adapter.name}:{variant.tag}" if variant.tag else adapter.name
            own = replace(
                variant,
                name=tagged,
                model=adapter.name,
                served_model=adapter.name,
                weight=None,
                mirror=None,
                adapters=(),
                adapter=adapter,
                of=variant,
            )
            by_name.setdefault(adapter.name, []).append(own)
    for name, variants in by_name.items():
        yield make(name, (), tuple(variants))
