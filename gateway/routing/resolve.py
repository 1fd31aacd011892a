"""From the name that a client asked for to the variants that may answer, in order.

An exact name wins, then the part after the last `:` is read as the tag. A name without a tag
goes to the model's variants in order (the first by weight where the model's or the plan's choice
is that), then to those of its fallbacks. A split goes to one of its parts as if that had been
asked for, then to the others. A tag pins: the client chose that quantization and gets no other.
What the plan does not include, or has fewer bits than the call asks for, is left out before
anything is drawn.
"""

import difflib
from collections.abc import Iterable, Iterator
from enum import StrEnum

from gateway.auth.keys import Plan
from gateway.config.choice import Choose
from gateway.errors import ModelNotAllowed, ModelNotFound, TooFewBits
from gateway.fleet.catalog import Catalog, Model, Split, Target, Variant
from gateway.routing.asking import Asking
from gateway.routing.split import drawn

MIN_BITS = "x-gateway-min-bits"
_LONGEST_ASKED = 400  # more than a name, a colon and a tag

Route = tuple[Variant, ...]


class Why(StrEnum):
    """Why a variant answers: it was the first choice, or load or trouble sent the call there."""

    FIRST = "first"
    PINNED = "pinned"
    WEIGHTED = "weighted"
    SPLIT = "split"
    SPILLED = "spilled"
    NEXT = "next"
    FALLBACK = "fallback"


class Resolved:
    """The variants that may answer, in order; `first` is the one before load has its say.

    `name` is the catalog's for what was asked for: a model, or a split. `why` the first answers.
    `spill`: how load decides among the variants of the first one's model; None: it does not.
    """

    __slots__ = ("first", "name", "route", "spill", "why")

    def __init__(self, name: str, route: Route, why: Why, spill: Choose | None = None) -> None:
        self.name = name
        self.route = route
        self.first = route[0]
        self.why = why
        self.spill = spill

    def why_of(self, variant: Variant, *, first_is_usable: bool) -> Why:
        """Why a variant of the route answers."""
        first = self.first
        if variant.name == first.name:
            return self.why
        if variant.model != first.model:
            return Why.FALLBACK
        return Why.SPILLED if self.spill is not None and first_is_usable else Why.NEXT


def resolve(catalog: Catalog, asked: str, asking: Asking) -> Resolved:
    """At least one variant. Raises ModelNotFound, ModelNotAllowed or TooFewBits."""
    target = catalog.names.get(asked)
    if target is None:
        raise ModelNotFound(_not_found(catalog, asked, asking.plan), param="model")
    if target.is_single and asking.plan.is_unrestricted and not asking.min_bits:
        return Resolved(target.model.name, target.model.variants, Why.FIRST)
    if not may_use(asking.plan, target):
        raise ModelNotAllowed(f'your plan does not include "{asked}"', param="model")
    if target.split is None:
        found = _resolved(catalog, target, asking)
        if found is None:
            raise TooFewBits(_too_few(asked, (target,), asking), param=MIN_BITS)
        return found
    return _of_split(catalog, target.split, asking)


def may_use(plan: Plan, target: Target) -> bool:
    """Whether a plan includes anything of what a name means."""
    if plan.is_unrestricted:
        return True
    if target.split is not None:
        return any(may_use(plan, part.target) for part in target.split.parts)
    return any(plan.allows(variant.name) for variant in _variants(target))


def _variants(target: Target) -> Route:
    return target.model.variants if target.variant is None else (target.variant,)


def _of_split(catalog: Catalog, split: Split, asking: Asking) -> Resolved:
    resolved = [(part, _resolved(catalog, part.target, asking)) for part in split.parts]
    parts = [(part, found) for part, found in resolved if found is not None]
    if not parts:
        allowed = [one.target for one in split.parts if may_use(asking.plan, one.target)]
        raise TooFewBits(_too_few(split.name, allowed, asking), param=MIN_BITS)
    choose = asking.plan.choose
    first = 0
    if choose is None or choose.by != "first":
        shares = [(part.weight, part.seed) for part, _ in parts]
        first = drawn(shares, asking.key(split.sticky, split.name), asking.rng)
    chosen = parts[first][1]
    others = [found for _, found in parts if found is not chosen]
    return Resolved(split.name, _joined([chosen, *others]), Why.SPLIT, chosen.spill)


def _joined(found: Iterable[Resolved]) -> Route:
    """What each is in the first place, then what each falls back to; every variant once."""
    near: dict[str, Variant] = {}
    far: dict[str, Variant] = {}
    for one in found:
        for variant in one.route:
            (near if variant.model == one.first.model else far)[variant.name] = variant
    return (*near.values(), *[it for name, it in far.items() if name not in near])


def _resolved(catalog: Catalog, target: Target, asking: Asking) -> Resolved | None:
    """None: nothing that the plan includes has the bits."""
    model = target.model
    if target.variant is not None:
        route = _usable((target.variant,), asking)
        return Resolved(model.name, route, Why.PINNED) if route else None
    own = _usable(model.variants, asking)
    if not own:
        return None
    choose = asking.plan.choose or model.choose
    route, why = _ordered(model, own, choose, asking)
    for fallback in _fallbacks(catalog, model):
        usable = _usable(fallback.variants, asking)
        route += _ordered(fallback, usable, asking.plan.choose or fallback.choose, asking)[0]
    spill = choose if choose.by == "spill" and len(own) > 1 else None
    return Resolved(model.name, route, why, spill)


def _usable(variants: Route, asking: Asking) -> Route:
    plan, least = asking.plan, asking.min_bits
    if not plan.is_unrestricted:
        variants = tuple([one for one in variants if plan.allows(one.name)])
    if least:
        variants = tuple([one for one in variants if one.bits is not None and one.bits >= least])
    return variants


def _fallbacks(catalog: Catalog, model: Model) -> Iterator[Model]:
    """The model's fallbacks and theirs, each once, breadth first."""
    seen = {model.name}
    waiting = [model]
    for one in waiting:
        if one is not model:
            yield one
        for name in one.fallbacks:
            if name not in seen:
                seen.add(name)
                waiting.append(catalog.models[name])


def _ordered(model: Model, usable: Route, choose: Choose, asking: Asking) -> tuple[Route, Why]:
    is_drawn = choose.by is None or choose.by == "weighted"
    if not is_drawn or not any(variant.weight for variant in usable):
        return usable, Why.FIRST
    shares = [(variant.weight or 0.0, variant.seed) for variant in usable]
    first = usable[drawn(shares, asking.key(choose.sticky, model.name), asking.rng)]
    return (first, *[variant for variant in usable if variant is not first]), Why.WEIGHTED


def _too_few(asked: str, targets: Iterable[Target], asking: Asking) -> str:
    variants = dict.fromkeys(variant for target in targets for variant in _variants(target))
    told = [
        f"{variant.name} has {_bits(variant)}"
        for variant in variants
        if asking.plan.allows(variant.name)
    ]
    return (
        f'no variant of "{asked}" is known to have {asking.min_bits:g} bits or more: '
        f"{', '.join(told)}; ask for fewer in {MIN_BITS}"
    )


def _bits(variant: Variant) -> str:
    return "unknown bits" if variant.bits is None else f"{variant.bits:.3g}"


def _not_found(catalog: Catalog, asked: str, plan: Plan) -> str:
    # no name is this long, and looking for similar ones would take its time
    if len(asked) > _LONGEST_ASKED:
        return f'model "{asked[:_LONGEST_ASKED]}…" is not served here'
    visible = [name for name, target in catalog.names.items() if _is_listed(name, target, plan)]
    base, _, _ = asked.rpartition(":")
    target = catalog.names.get(base)
    if (
        target is not None
        and target.variant is None
        and target.split is None
        and plan.allows(target.model.name)
    ):
        tags = [v.tag for v in target.model.variants if v.tag and plan.allows(v.name)]
        known = f"available: {', '.join(tags)}" if tags else f'ask for "{base}" without a tag'
        return f'model "{asked}" is not served here; {known}'
    near = difflib.get_close_matches(asked, visible, 3, cutoff=0.5)
    near += [name for name in visible if asked.lower() == name.lower() and name not in near]
    hint = f"; did you mean {' or '.join(near)}?" if near else "; GET /v1/models lists what is"
    return f'model "{asked}" is not served here{hint}'


def _is_listed(name: str, target: Target, plan: Plan) -> bool:
    return plan.allows(name) if target.split is None else may_use(plan, target)
