"""Compile what an operator wrote, a `config.Document`, to what serves, a `Catalog`.

Either gives a catalog or every problem at once, each with its path.
"""

import hashlib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from gateway.auth.issued import ANONYMOUS
from gateway.auth.keys import Caller, KeyRing, Plan
from gateway.config import access, models
from gateway.config.access import Rates
from gateway.config.document import Document
from gateway.config.models import Concurrency
from gateway.config.secrets import Secret
from gateway.errors import ConfigInvalid
from gateway.fleet.adapted import adapted, adapters_of, place_of, problems_of
from gateway.fleet.catalog import (
    UNLIMITED,
    Catalog,
    Model,
    Part,
    Replica,
    Split,
    Target,
    Variant,
    seed_of,
    url_of,
)
from gateway.sizing.bits import bits_of
from gateway.wire.http import Origin

_PORTS = {"http": 80, "https": 443}


def compile_catalog(
    document: Document,
    environ: Mapping[str, str],
    *,
    policies: Iterable[str],
    needs_replicas: bool = True,
) -> Catalog:
    """Raises ConfigInvalid with every problem. `policies`: the names that exist.

    `needs_replicas`: false where nothing is to be served, and `deploy` may stand for them.
    """
    compiler = _Compiler(document, environ, tuple(policies), needs_replicas)
    catalog = compiler.catalog()
    if compiler.problems:
        raise ConfigInvalid(tuple(compiler.problems))
    return catalog


class _Compiler:
    """One pass over a document; `problems` grows as it goes."""

    def __init__(
        self,
        document: Document,
        environ: Mapping[str, str],
        policies: tuple[str, ...],
        needs_replicas: bool,
    ) -> None:
        self.problems: list[str] = []
        self._document = document
        self._environ = environ
        self._policies = policies
        self._needs_replicas = needs_replicas
        self._choices = [plan.choose for plan in document.plans if plan.choose is not None]
        self._owners: dict[str, str] = {}
        self._names: dict[str, Target] = {}

    def catalog(self) -> Catalog:
        compiled: dict[str, Model] = {}
        made: list[tuple[Model, str]] = []
        tagged: list[tuple[Model, str]] = []
        for index, given in enumerate(self._document.models):
            path = f"models[{index}]"
            model = self._model(given, path)
            is_single = len(model.variants) == 1 and not model.fallbacks
            target = Target(model, is_single=is_single)
            self._claim(model.name, target, f"{path}.name")
            for number, alias in enumerate(model.aliases):
                self._claim(alias, target, f"{path}.aliases[{number}]")
            made.append((model, path))
            if compiled.setdefault(model.name, model) is model:
                tagged.append((model, path))
        for given, (model, path) in zip(self._document.models, made, strict=True):
            for own in adapted(model, Model):
                target = Target(own, is_single=len(own.variants) == 1)
                self._claim(own.name, target, f"{path}.{place_of(given, own.name)}")
                if compiled.setdefault(own.name, own) is own:
                    tagged.append((own, path))
        # tags come after all names, so that a clash is told at the variant
        for model, path in tagged:
            self._claim_tags(model, path)
        self._claim_splits()
        self._check_fallbacks(compiled)
        self._check_mirrors(compiled)
        plans = {"default": Plan("default", ("*",))} | self._plans(compiled)
        rates: dict[str, Rates] = {"default": Rates()}
        rates |= {plan.name: plan for plan in self._document.plans}
        return Catalog(compiled, self._names, plans, rates, self._keys(plans, rates))

    def _model(self, given: models.Model, path: str) -> Model:
        if given.policy not in self._policies:
            known = ", ".join(self._policies)
            self.problems.append(f'{path}.policy: "{given.policy}" is unknown; known: {known}')
        tags = [variant.quantization for variant in given.variants]
        variants = []
        for number, variant in enumerate(given.variants):
            where = f"{path}.variants[{number}]"
            if variant.quantization in tags[:number]:
                what = f'the tag "{variant.quantization}"' if variant.quantization else "no tag"
                self.problems.append(f"{where}.quantization: another variant has {what} already")
            variants.append(self._variant(given, variant, where))
        return Model(given.name, given.aliases, tuple(variants), given.fallbacks, given.choose)

    def _variant(self, model: models.Model, given: models.Variant, path: str) -> Variant:
        replicas: list[Replica] = []
        self._check_trust(given, path)
        if self._needs_replicas and not given.replicas and given.discovery is None:
            self.problems.append(
                f"{path}.replicas: nothing says where its engines are: list them, or let "
                "`gateway up` start what `deploy` describes"
            )
        for number, replica in enumerate(given.replicas):
            where = f"{path}.replicas[{number}]"
            origin = _origin(replica.url, _ca_file(given))
            key = url_of(origin)
            name = replica.name or f"r{number}"
            if any(key == other.key for other in replicas):
                self.problems.append(f"{where}.url: this replica is there already")
            if any(name == other.name for other in replicas):
                self.problems.append(f'{where}.name: "{name}" is another replica already')
            at_once = _at_once(replica.concurrency or given.concurrency)
            replicas.append(Replica(key, name, key, origin, replica.weight, at_once))
        self.problems.extend(problems_of(given, path))
        tag = given.quantization
        name = f"{model.name}:{tag}" if tag else model.name
        return Variant(
            name=name,
            model=model.name,
            tag=tag,
            engine=given.engine,
            served_model=given.served_model or model.name,
            replicas=tuple(replicas),
            policy=model.policy,
            weight=given.weight,
            api_key=self._secret(given.api_key, f"{path}.api_key"),
            timeouts=model.timeouts,
            hedging=model.hedging,
            limits=given.limits,
            model_limits=model.limits,
            resume=model.resume,
            session=model.session,
            queue=model.queue,
            mirror=model.mirror,
            adapters=adapters_of(given),
            max_adapters=given.max_adapters,
            wake=given.wake,
            bits=given.bits or _bits(given),
            seed=seed_of(name),
            times_onsets=any(one.ttft_s for one in (model.choose, *self._choices)),
            discovery=given.discovery,
            ca_file=_ca_file(given),
            concurrency=_at_once(given.concurrency),
        )

    def _check_trust(self, given: models.Variant, path: str) -> None:
        file = given.tls.ca_file
        if file is None or file.is_file():
            return
        where = [f"{path}.replicas[{number}]" for number in range(len(given.replicas))]
        for each in where or [f"{path}.tls"]:
            self.problems.append(f"{each}: the tls.ca_file {file} cannot be read")

    def _claim(self, name: str, target: Target, path: str) -> None:
        owner = self._owners.setdefault(name, path)
        if owner == path:
            self._names[name] = target
        else:
            self.problems.append(f'{path}: "{name}" is ambiguous, it is also {owner}')

    def _claim_tags(self, model: Model, path: str) -> None:
        tags = [variant.tag for variant in model.variants]
        for number, variant in enumerate(model.variants):
            if variant.tag is None or variant.tag in tags[:number]:
                continue
            for name in (model.name, *model.aliases):
                where = f"{path}.variants[{number}].quantization"
                self._claim(f"{name}:{variant.tag}", Target(model, variant), where)

    def _claim_splits(self) -> None:
        whole = dict(self._names)
        for index, given in enumerate(self._document.splits):
            parts: list[Part] = []
            for number, part in enumerate(given.parts):
                where = f"splits[{index}].parts[{number}].to"
                target = whole.get(part.to)
                if target is None:
                    self.problems.append(f'{where}: "{part.to}" is no model or variant')
                    continue
                name = target.model.name if target.variant is None else target.variant.name
                if any(name == other.name for other in parts):
                    self.problems.append(f'{where}: "{name}" is another part already')
                elif part.weight:
                    parts.append(Part(name, target, part.weight, seed_of(name)))
            if parts:
                split = Split(given.name, tuple(parts), given.sticky)
                target = Target(parts[0].target.model, split=split)
                self._claim(given.name, target, f"splits[{index}].name")

    def _check_fallbacks(self, compiled: Mapping[str, Model]) -> None:
        for index, given in enumerate(self._document.models):
            for number, fallback in enumerate(given.fallbacks):
                where = f"models[{index}].fallbacks[{number}]"
                if fallback not in compiled:
                    known = ", ".join(compiled)
                    self.problems.append(f'{where}: "{fallback}" is no model; known: {known}')
                elif compiled[fallback].variants[0].of is not None:
                    self.problems.append(f'{where}: "{fallback}" is an adapter, not a model')
                elif given.name in _reachable(fallback, compiled):
                    self.problems.append(f'{where}: "{fallback}" leads back to "{given.name}"')

    def _check_mirrors(self, compiled: Mapping[str, Model]) -> None:
        for index, given in enumerate(self._document.models):
            if given.mirror is None:
                continue
            where, to = f"models[{index}].mirror.to", given.mirror.to
            target = self._names.get(to)
            if target is None:
                known = ", ".join(compiled)
                self.problems.append(f'{where}: "{to}" is no model or variant; known: {known}')
            elif [one.name for one in compiled[given.name].variants] == [target.first.name]:
                self.problems.append(f'{where}: "{to}" answers the calls themselves')

    def _plans(self, compiled: Mapping[str, Model]) -> dict[str, Plan]:
        plans: dict[str, Plan] = {}
        # what a plan is asked about: never an alias
        own = {variant.name for model in compiled.values() for variant in model.variants}
        own |= compiled.keys()
        for index, given in enumerate(self._document.plans):
            path = f"plans[{index}]"
            if given.name in plans:
                self.problems.append(f'{path}.name: the plan "{given.name}" is there already')
            for number, pattern in enumerate(given.models):
                if not any(fnmatchcase(name, pattern) for name in own):
                    alias = self._names.get(pattern)
                    hint = f'; it is an alias of "{alias.model.name}"' if alias else ""
                    if alias is not None and alias.split is not None:
                        hint = "; it is a split: name its parts"
                    self.problems.append(
                        f'{path}.models[{number}]: no model matches "{pattern}"{hint}'
                    )
            plans[given.name] = Plan(
                given.name,
                given.models,
                weight=given.weight,
                priority=given.priority,
                shows_timing=given.server_timing,
                choose=given.choose,
            )
        return plans

    def _keys(self, plans: Mapping[str, Plan], rates: Mapping[str, Rates]) -> KeyRing:
        if self._document.keys is None:
            return KeyRing({}, Caller(ANONYMOUS, plans["default"], rates["default"]))
        callers: dict[bytes, Caller] = {}
        names: set[str] = set()
        for index, given in enumerate(self._document.keys):
            path = f"keys[{index}]"
            if given.name in names:
                self.problems.append(f'{path}.name: the key "{given.name}" is there already')
            names.add(given.name)
            if given.plan not in plans:
                known = ", ".join(plans)
                self.problems.append(f'{path}.plan: "{given.plan}" is no plan; known: {known}')
            plan = plans.get(given.plan, plans["default"])
            own = rates.get(given.plan, rates["default"]).overridden(given.limits)
            for rule in own.without_rate():
                self.problems.append(f"{path}.limits.burst.{rule}: there is no {rule} for this key")
            digest = self._digest(given, path)
            if digest in callers:
                other = callers[digest].name
                self.problems.append(f'{path}: this is the key of "{other}" already')
            if digest is not None:
                callers.setdefault(digest, Caller(given.name, plan, own))
        return KeyRing(callers, None)

    def _digest(self, given: access.Key, path: str) -> bytes | None:
        if given.sha256 is not None:
            return bytes.fromhex(given.sha256)
        secret = self._secret(given.secret, f"{path}.secret")
        return None if secret is None else hashlib.sha256(secret.encode()).digest()

    def _secret(self, given: Secret | None, path: str) -> str | None:
        if given is None:
            return None
        try:
            return given.read(self._environ)
        except ValueError as exc:
            self.problems.append(f"{path}: {exc}")
            return None


def _bits(given: models.Variant) -> float | None:
    """What the names of its quantization tell."""
    bits = None if given.quantization is None else bits_of(given.quantization)
    if bits is None and given.deploy is not None and given.deploy.quantization is not None:
        bits = bits_of(given.deploy.quantization)
    return bits


def _ca_file(given: models.Variant) -> str | None:
    return None if given.tls.ca_file is None else str(given.tls.ca_file)


def _origin(url: str, ca_file: str | None) -> Origin:
    parts = urlsplit(url)
    port = parts.port or _PORTS[parts.scheme]
    return Origin(parts.scheme, parts.hostname or "", port, parts.path.rstrip("/"), ca_file)


def _at_once(given: Concurrency) -> int | None:
    if given == "auto":
        return None
    return UNLIMITED if given == "unlimited" else given


def _reachable(start: str, compiled: Mapping[str, Model]) -> set[str]:
    """Every model that `start` and its fallbacks lead to, `start` included."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in seen and name in compiled:
            seen.add(name)
            waiting += compiled[name].fallbacks
    return seen
