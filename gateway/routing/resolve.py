"""From the name that a client asked for to the variants that may answer, in order.

An exact name wins, then the part after the last `:` is read as the tag. A name without a tag
goes to the model's variants in order (the first by weight where weights are given), then to
those of its fallbacks. A tag pins: the client chose that quantization and gets no other.
"""

import difflib
import random
from collections.abc import Iterator

from gateway.auth.keys import Plan
from gateway.errors import ModelNotAllowed, ModelNotFound
from gateway.fleet.catalog import Catalog, Model, Variant

_LONGEST_ASKED = 400  # more than a name, a colon and a tag

Route = tuple[Variant, ...]


def resolve(catalog: Catalog, asked: str, plan: Plan, rng: random.Random) -> Route:
    """At least one variant. Raises ModelNotFound, or ModelNotAllowed."""
    target = catalog.names.get(asked)
    if target is None:
        raise ModelNotFound(_not_found(catalog, asked, plan), param="model")
    model = target.model
    if target.variant is not None:
        if not plan.allows(target.variant.name):
            raise ModelNotAllowed(f'your plan does not include "{asked}"', param="model")
        return (target.variant,)
    if len(model.variants) == 1 and not model.fallbacks:
        route: Route = model.variants
    else:
        route = tuple(
            variant for one in _with_fallbacks(catalog, model) for variant in _ordered(one, rng)
        )
    if plan.is_unrestricted:
        return route
    allowed = tuple(variant for variant in route if plan.allows(variant.name))
    if not any(variant.model == model.name for variant in allowed):
        raise ModelNotAllowed(f'your plan does not include "{asked}"', param="model")
    return allowed


def _with_fallbacks(catalog: Catalog, model: Model) -> Iterator[Model]:
    """The model, then its fallbacks and theirs, each once, breadth first."""
    seen = {model.name}
    waiting = [model]
    for one in waiting:
        yield one
        for name in one.fallbacks:
            if name not in seen:
                seen.add(name)
                waiting.append(catalog.models[name])


def _ordered(model: Model, rng: random.Random) -> Route:
    weights = [variant.weight or 0.0 for variant in model.variants]
    if not any(weights):
        return model.variants
    first = rng.choices(model.variants, weights)[0]
    return (first, *(variant for variant in model.variants if variant is not first))


def _not_found(catalog: Catalog, asked: str, plan: Plan) -> str:
    # no name is this long, and looking for similar ones would take its time
    if len(asked) > _LONGEST_ASKED:
        return f'model "{asked[:_LONGEST_ASKED]}…" is not served here'
    visible = [name for name in catalog.names if plan.allows(name)]
    base, _, _ = asked.rpartition(":")
    target = catalog.names.get(base)
    if target is not None and target.variant is None and plan.allows(target.model.name):
        tags = [v.tag for v in target.model.variants if v.tag and plan.allows(v.name)]
        known = f"available: {', '.join(tags)}" if tags else f'ask for "{base}" without a tag'
        return f'model "{asked}" is not served here; {known}'
    near = difflib.get_close_matches(asked, visible, 3, cutoff=0.5)
    near += [name for name in visible if asked.lower() == name.lower() and name not in near]
    hint = f"; did you mean {' or '.join(near)}?" if near else "; GET /v1/models lists what is"
    return f'model "{asked}" is not served here{hint}'
