"""What `gateway up` is going to start: addresses, memory plans, GPUs, programs, all checked first.

Whatever is wrong is told at once, before anything runs.
"""

import re
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.deployments import Planned, planned
from gateway.config.document import Document
from gateway.config.models import Model, Variant
from gateway.errors import ConfigInvalid, PlanInvalid
from gateway.launch.addresses import HOST, Address, Addressed, addressed, with_variants
from gateway.launch.command import command_line
from gateway.launch.engines import LocalEngine
from gateway.launch.environment import engine_environment
from gateway.launch.flags import given_flags
from gateway.launch.gpus import GpusUnknown, find_gpus
from gateway.launch.placement import FoundGpu, Need, place
from gateway.launch.process import Start
from gateway.sizing.gpus import find_gpu, is_same_gpu
from gateway.sizing.plan import Plan
from gateway.sizing.versions import read_version

LOAD_TIME_S = 1800
_GRACE_S = 20.0
_UTILIZATION = "--gpu-memory-utilization"


@dataclass(frozen=True, slots=True)
class Preparation:
    """The file with every replica's url; the engines to be started; what could not be planned."""

    document: Document
    engines: tuple[LocalEngine, ...]
    unplanned: tuple[str, ...]


def prepare(
    document: Document, folder: Path, environ: Mapping[str, str], log_folder: Path
) -> Preparation:
    """Raises ConfigInvalid with every problem. `folder`: that of the file."""
    given = addressed(document, is_free)
    if not given.engines:
        raise ConfigInvalid(
            ("no engine is to be started here: give a model `deploy`, or use `gateway serve`",)
        )
    found = _found(given, environ)
    plans = {
        one.path.removesuffix(".deploy"): one
        for one in planned(_as_found(given.document, found), folder, environ)
    }
    problems = [f"{one.path}: {one.problem}" for one in plans.values() if one.problem]
    needs = [_need(one, plans[one.path].plan) for one in given.engines if one.deploy.gpu]
    try:
        gpus = place(needs, found)
    except ConfigInvalid as crowded:
        problems += crowded.problems
        gpus = {}
    engines = []
    preparer = _Preparer(given.document, folder, environ, log_folder)
    for address in given.engines:
        try:
            engines.append(
                preparer.engine(address, plans[address.path].plan, gpus.get(address.name, ()))
            )
        except (PlanInvalid, ValueError) as wrong:
            problems.append(f"{address.path}.{wrong}")
    if problems:
        raise ConfigInvalid(tuple(dict.fromkeys(problems)))
    return Preparation(given.document, tuple(engines), tuple(_unplanned(given, plans)))


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _found(given: Addressed, environ: Mapping[str, str]) -> Sequence[FoundGpu]:
    if all(engine.deploy.gpu is None for engine in given.engines):
        return []
    try:
        return find_gpus(environ)
    except GpusUnknown as unknown:
        raise ConfigInvalid((f"the GPUs of this machine cannot be told: {unknown}",)) from unknown


def _as_found(document: Document, found: Sequence[FoundGpu]) -> Document:
    """Plans are made for the memory that is there, where it is less than that of the table."""

    def fit(_: str, __: Model, variant: Variant) -> Variant:
        deploy = variant.deploy
        if deploy is None or deploy.gpu is None:
            return variant
        there = [gpu.memory_gib for gpu in found if is_same_gpu(deploy.gpu, gpu.name)]
        try:
            known = find_gpu(deploy.gpu, deploy.gpu_memory_gib).memory_gib
        except PlanInvalid:
            known = min(there, default=0.0)
            if not there:
                return variant  # the plan says what is not known
        least = min([known, *there])
        return variant.model_copy(
            update={"deploy": deploy.model_copy(update={"gpu_memory_gib": least})}
        )

    return with_variants(document, fit)


def _unplanned(given: Addressed, plans: Mapping[str, Planned]) -> Iterator[str]:
    on_gpus = {engine.path for engine in given.engines if engine.deploy.gpu is not None}
    for path, one in plans.items():
        if path in on_gpus and one.unseen is not None:
            yield f"{one.path}: not planned: {one.unseen}"


def _need(engine: Address, plan: Plan | None) -> Need:
    deploy, kind = engine.deploy, engine.variant.engine
    ratio, gib = deploy.gpu_memory_utilization, None
    if kind == "vllm" and ratio is None:
        ratio = read_version(deploy.engine_version).utilization
        if plan is not None and _UTILIZATION in plan.flags:
            ratio = float(plan.flags[plan.flags.index(_UTILIZATION) + 1])
    elif kind == "llamacpp" and plan is not None:
        gib = plan.weights_gib + plan.activation_gib + plan.overhead_gib + plan.kv_cache_gib
    return Need(
        f"{engine.path}.deploy", engine.name, deploy.gpu or "", deploy.gpus, ratio=ratio, gib=gib
    )


class _Preparer:
    def __init__(
        self, document: Document, folder: Path, environ: Mapping[str, str], log_folder: Path
    ) -> None:
        self._document = document
        self._folder = folder
        self._environ = environ
        self._log_folder = log_folder
        self._logs: set[str] = set()

    def engine(self, address: Address, plan: Plan | None, gpus: Sequence[FoundGpu]) -> LocalEngine:
        """Raises PlanInvalid or ValueError, whose text begins with the key that is wrong."""
        deploy, variant = address.deploy, address.variant
        api_key = None
        if variant.api_key is not None:
            try:
                api_key = variant.api_key.read(self._environ)
            except ValueError as absent:
                raise ValueError(f"api_key: {absent}") from absent
        ids = [gpu.id for gpu in gpus]
        environ = engine_environment(
            self._environ,
            self._document,
            deploy,
            kind=variant.engine,
            api_key=api_key,
            gpus=ids,
            sleeps=variant.sleeps,
        )
        try:
            flags = given_flags(variant.engine, deploy) if plan is None else plan.flags
            command = command_line(address, flags, self._folder)
        except PlanInvalid as wrong:
            raise PlanInvalid(f"deploy.{wrong.public}") from wrong
        self._check_program(command[0], environ)
        return LocalEngine(
            name=address.name,
            kind=variant.engine,
            url=f"http://{HOST}:{address.port}",
            api_key=api_key,
            start=Start(
                command, environ, self._folder, self._log(address), deploy.drain_s or _GRACE_S
            ),
            load_time_s=deploy.load_time_s or LOAD_TIME_S,
            gpus=ids,
        )

    def _check_program(self, program: str, environ: Mapping[str, str]) -> None:
        named = str(self._folder / program) if "/" in program else program
        if shutil.which(named, path=environ.get("PATH")) is None:
            raise ValueError(
                f"deploy: the program {program} is not there; install it, or say where it is "
                "(python, command)"
            )

    def _log(self, address: Address) -> Path:
        name = re.sub(r"[^A-Za-z0-9._-]", "_", address.name)
        if name in self._logs:
            name = f"{name}-{address.port}"
        self._logs.add(name)
        return self._log_folder / f"{name}.log"
