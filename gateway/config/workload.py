"""What of a `deploy` entry only a cluster needs: images, storage, scaling and scheduling.

The gateway checks its shape and does nothing with it. Names of Kubernetes' own objects
(`tolerations`, `affinity`, …) hold what Kubernetes' API has there, in its own spelling.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from gateway.config.base import Number, Section

Object = dict[str, Any]
Count = Annotated[int, Field(ge=1, le=1 << 30), Number]
Gib = Annotated[float, Field(ge=0, le=1 << 20), Number]
Seconds = Annotated[int, Field(ge=1, le=86_400), Number]
Text = Annotated[str, Field(min_length=1, max_length=256)]
Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]
Adapted = Annotated[
    str, StringConstraints(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9._:/-]+$")
]

# those buckets of gen_ai_server_time_to_first_token_seconds that are worth promising
BOUNDS = (0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


def _is_a_bound(seconds: float) -> float:
    if seconds not in BOUNDS:
        raise ValueError(f"must be one of {', '.join(map(str, BOUNDS))}")
    return seconds


Bound = Annotated[
    float, AfterValidator(_is_a_bound), Number, Field(json_schema_extra={"enum": [*BOUNDS]})
]


class Image(Section):
    """A container image. What is left out comes from the values of the engine's kind."""

    repository: Text | None = Field(None, description="Registry and name, without the tag.")
    tag: Tag | None = Field(None, description="A fixed version; `latest` is refused.")
    digest: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")] | None = Field(
        None, description="Pins the image further than its tag does."
    )
    pull_policy: Literal["IfNotPresent", "Always", "Never"] | None = Field(
        None, description="When it is pulled."
    )

    @model_validator(mode="after")
    def _is_fixed(self) -> Self:
        if self.tag == "latest":
            raise ValueError("tag: name a version, latest is another one tomorrow")
        return self


class Cache(Section):
    """Where the engine keeps the model's files."""

    kind: Literal["ephemeral", "per-replica", "shared"] = Field(
        "ephemeral",
        description="Gone with the pod, a volume for each replica, or one volume for all of them.",
    )
    size_gib: Count = Field(100, description="Its size.")
    storage_class: Text | None = Field(None, description="Default: the cluster's.")
    existing_claim: Text | None = Field(
        None, description="A claim that is there already; only with `shared`."
    )
    predownload: bool = Field(
        False,
        description="Fetch the model before the engine starts: in a job where the cache is "
        "shared, else in a container of its own.",
    )

    @model_validator(mode="after")
    def _only_a_shared_one_is_there_already(self) -> Self:
        if self.existing_claim is not None and self.kind != "shared":
            raise ValueError("existing_claim needs kind: shared")
        return self


class Autoscaling(Section):
    """More replicas when they are busy or late, and fewer when they are not."""

    kind: Literal["keda", "hpa"] = Field(
        "keda", description="A ScaledObject of KEDA, or a plain HorizontalPodAutoscaler."
    )
    min: Annotated[int, Field(ge=0, le=1 << 30), Number] = Field(
        1,
        description="The fewest replicas; 0: none while nobody calls, and calls wait for the "
        "first (KEDA only).",
    )
    max: Count = Field(description="The most replicas; the gateway knows all of them.")
    running_per_replica: Annotated[float, Field(gt=0, le=1_000_000), Number] | None = Field(
        None, description="Requests that each replica should have, running and waiting."
    )
    queue_wait_s: Annotated[float, Field(gt=0, le=3600), Number] | None = Field(
        None, description="How long 95 % of the calls that wait in the gateway may wait."
    )
    ttft_slo_s: Bound | None = Field(
        None, description="In how many seconds a first token should be there; a bucket's bound."
    )
    ttft_objective: Annotated[float, Field(gt=0, lt=1), Number] = Field(
        0.95, description="The share of streamed calls that should keep to it."
    )
    scale_down_after_s: Seconds = Field(
        300, description="How long it must have been quiet before a replica goes."
    )

    @model_validator(mode="after")
    def _has_bounds_and_a_signal(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        if self.running_per_replica is self.queue_wait_s is self.ttft_slo_s is None:
            raise ValueError("give running_per_replica, queue_wait_s or ttft_slo_s, or several")
        if self.min == 0 and self.kind == "hpa":
            raise ValueError("min 0 needs kind: keda, a plain HPA keeps at least one replica")
        if self.min == 0 and self.running_per_replica is None:
            raise ValueError("min 0 needs running_per_replica: for how many calls one is started")
        return self


class Adapter(Section):
    """A LoRA adapter that every replica serves beside its model, under a name of its own."""

    name: Adapted = Field(description="What clients ask for: a model's name.")
    source: Text = Field(description="A folder in the container, or a name on the Hub.")


class Pod(Section):
    """Where and how an engine's pods run."""

    resources: Object = Field(
        {}, description="`requests` and `limits` beside the GPUs; default: the engine kind's."
    )
    shared_memory_gib: Gib = Field(8, description="Size of /dev/shm, which counts as memory.")
    node_selector: dict[str, str] = Field({}, description="Labels that a node must have.")
    tolerations: tuple[Object, ...] = Field((), description="Taints that are put up with.")
    affinity: Object = Field({}, description="Affinities to nodes and pods.")
    topology_spread: tuple[Object, ...] = Field(
        (), description="Topology spread constraints; a selector of the engine's pods is added."
    )
    runtime_class: Text | None = Field(None, description="Such as nvidia.")
    priority_class: Text | None = Field(None, description="Who is evicted last.")
    labels: dict[str, str] = Field({}, description="Further labels.")
    annotations: dict[str, str] = Field({}, description="Further annotations.")
    env: tuple[Object, ...] = Field((), description="Further variables of the engine.")
    volumes: tuple[Object, ...] = Field((), description="Further volumes.")
    volume_mounts: tuple[Object, ...] = Field((), description="Where they are mounted.")
