"""The chart's own values, beside the gateway's configuration: types, and what each is for.

`values.schema.json` and the tables of the chart's README are made of them; their defaults stand
in `values.yaml`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Object = dict[str, Any]
Objects = list[Object]
Texts = dict[str, str]
Count = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Duration = Annotated[str, Field(pattern=r"^[0-9]+(ms|s|m|h)$")]
Quantity = Annotated[str, Field(pattern=r"^[0-9.]+([KMGT]i?|m)?$")]
PullPolicy = Literal["IfNotPresent", "Always", "Never"]


class Values(BaseModel):
    """A part of the values: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class Image(Values):
    """A container image."""

    repository: str = Field(description="Registry and name.")
    tag: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$")] = Field(
        description="A fixed version, not latest; of the gateway, empty is the chart's."
    )
    digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")] = Field(
        "", description="Pins the image further."
    )
    pull_policy: PullPolicy = Field(description="When it is pulled.")


class Resources(Values):
    """What a container asks for, and its bounds."""

    requests: Object = Field({}, description="What the scheduler keeps free.")
    limits: Object = Field({}, description="What it may not exceed.")


class GatewayAutoscaling(Values):
    """A HorizontalPodAutoscaler of the gateway, by CPU."""

    enabled: bool = Field(description="In place of `gateway.replicas`.")
    min_replicas: Count = Field(description="The fewest.")
    max_replicas: Count = Field(description="The most.")
    target_cpu: Annotated[int, Field(ge=1, le=100)] = Field(
        alias="targetCPUUtilizationPercentage", description="Of what is requested."
    )


class Service(Values):
    """The gateway's Service."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(description="Its type.")
    port: Port = Field(description="Its port.")
    annotations: Texts = Field(description="Its annotations.")


class Gateway(Values):
    """The gateway's pods."""

    image: Image = Field(description="Its image.")
    replicas: Count = Field(description="How many pods.")
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        description="Processes in each; one CPU each."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(description="What is logged.")
    env: Objects = Field(description="Further variables, such as `OTEL_*`.")
    pod_labels: Texts = Field(description="Further labels.")
    pod_annotations: Texts = Field(description="Further annotations.")
    resources: Resources = Field(description="CPU and memory.")
    node_selector: Texts = Field(description="Labels that a node must have.")
    tolerations: Objects = Field(description="Taints that are put up with.")
    affinity: Object = Field(description="Affinities.")
    topology_spread_constraints: Objects = Field(
        description="Empty: over zones and nodes, as far as it goes."
    )
    priority_class_name: str = Field(description="Who is evicted last.")
    extra_volumes: Objects = Field(description="Further volumes, for `from_file` and `ca_file`.")
    extra_volume_mounts: Objects = Field(description="Where they are mounted.")
    autoscaling: GatewayAutoscaling = Field(description="More pods under load.")
    service: Service = Field(description="Where clients find it.")


class EngineKind(Values):
    """What the engines of a kind have in common."""

    image: Image = Field(description="Their image.")
    resources: Resources = Field(description="CPU and memory beside the GPUs.")
    load_time_seconds: Count = Field(description="How long a start may take.")
    drain_seconds: Count = Field(
        description="How long running requests may go on at a shutdown. llama.cpp has no drain: "
        "its requests end, and streams are resumed elsewhere."
    )


class Engines(Values):
    """Defaults of `deploy`, by kind of engine."""

    vllm: EngineKind = Field(description="vLLM.")
    tgi: EngineKind = Field(description="Text Generation Inference.")
    llamacpp: EngineKind = Field(description="llama.cpp's server.")


class HuggingFace(Values):
    """The token for models behind a licence."""

    existing_secret: str = Field(description="The Secret that has it; empty: no token.")
    key: str = Field(description="Its key there.")


class SecretStore(Values):
    """A store of the External Secrets Operator."""

    name: str = Field(description="Its name.")
    kind: Literal["ClusterSecretStore", "SecretStore"] = Field(description="Its kind.")


class External(Values):
    """The gateway's Secret, made by the External Secrets Operator."""

    enabled: bool = Field(description="In place of `secrets.existingSecret`.")
    store: SecretStore = Field(description="Where it reads.")
    refresh_interval: Duration = Field(description="How often.")
    data: Objects = Field(description="`secretKey` (the variable's name) and `remoteRef` of each.")


class Secrets(Values):
    """Where secrets come from; none is ever in the values."""

    existing_secret: str = Field(
        description="A Secret whose keys are the gateway's variables: those that `from_env` "
        "names, GATEWAY_ADMIN_KEY, GATEWAY_REDIS_URL."
    )
    hugging_face: HuggingFace = Field(description="For the engines, and for the memory plan.")
    external: External = Field(description="With the External Secrets Operator.")


class PasswordSecret(Values):
    """Redis' password."""

    name: str = Field(
        description="The Secret that has it, in characters that need no escape in a URL; empty: "
        "none, policies guard Redis."
    )
    key: str = Field(description="Its key there.")


class Persistence(Values):
    """Redis' disk."""

    enabled: bool = Field(description="Keep counts and run-time keys over a restart.")
    size: Quantity = Field(description="Its size.")
    storage_class: str = Field(description="Empty: the cluster's default.")


class Redis(Values):
    """A single Redis in the cluster. Another one: leave it off and set `limits.redis_url`."""

    enabled: bool = Field(description="Deploy it, and count limits in it.")
    image: Image = Field(description="Its image.")
    password_secret: PasswordSecret = Field(description="Its password.")
    persistence: Persistence = Field(description="Its disk.")
    resources: Resources = Field(description="CPU and memory.")


class Ingress(Values):
    """An Ingress for what clients call; the annotations keep nginx from buffering streams."""

    enabled: bool = Field(description="Make one.")
    class_name: str = Field(description="Whose.")
    host: str = Field(description="Its host.")
    tls_secret: str = Field(description="The Secret with its certificate; empty: no TLS.")
    annotations: Texts = Field(description="Its annotations.")


class HttpRoute(Values):
    """A route of the Gateway API for what clients call, without a timeout for streams."""

    enabled: bool = Field(description="Make one.")
    parent_refs: Objects = Field(description="The Gateways that it belongs to.")
    hostnames: list[str] = Field(description="Its hosts.")
    annotations: Texts = Field(description="Its annotations.")


class NetworkPolicy(Values):
    """Who may reach whom: only the gateway reaches engines and Redis."""

    enabled: bool = Field(description="Make policies.")
    ingress_from: Objects = Field(description="Peers that may reach the gateway.")
    metrics_from: Objects = Field(description="Peers that may scrape gateway and engines.")


class Monitor(Values):
    """A ServiceMonitor or PodMonitor."""

    enabled: bool = Field(description="Make one.")
    interval: Duration = Field(description="How often it is scraped.")
    labels: Texts = Field(description="Labels that your Prometheus looks for.")


class Labelled(Values):
    """An object that something in the cluster looks for by its labels."""

    enabled: bool = Field(description="Make one.")
    labels: Texts = Field(description="Labels that it is found by.")


class Monitoring(Values):
    """Objects of the Prometheus Operator, and dashboards for Grafana."""

    service_monitor: Monitor = Field(description="Scrapes the gateway.")
    pod_monitor: Monitor = Field(description="Scrapes the engines.")
    prometheus_rule: Labelled = Field(description="Alerts, and the series that plain HPAs read.")
    dashboards: Labelled = Field(description="A ConfigMap that Grafana's sidecar finds.")


class Autoscaling(Values):
    """What engines' `deploy.autoscaling` needs of the cluster."""

    prometheus_url: Annotated[str, Field(pattern=r"^https?://\S+$")] = Field(
        description="The Prometheus that KEDA asks."
    )


class MemoryPlan(Values):
    """`gateway check` before an installation and an upgrade: they fail where an engine would."""

    enabled: bool = Field(description="Run it.")
    deadline_seconds: Count = Field(description="How long it may take.")


class Rbac(Values):
    """What the gateway may ask the Kubernetes API. Nothing, unless said."""

    endpoint_slices: bool = Field(
        description="Read EndpointSlices of its namespace: engines are found by them, instead of "
        "by the names of their pods."
    )


class ServiceAccount(Values):
    """The gateway's account."""

    name: str = Field(description="One that is there already; empty: make one.")
    annotations: Texts = Field(description="Its annotations.")


class Own(Values):
    """Every value that is not the gateway's configuration."""

    gateway: Gateway = Field(description="The gateway's pods.")
    engines: Engines = Field(description="Defaults of the engines.")
    secrets: Secrets = Field(description="Where secrets come from.")
    redis: Redis = Field(description="A Redis in the cluster.")
    ingress: Ingress = Field(description="The way in, by Ingress.")
    http_route: HttpRoute = Field(description="The way in, by Gateway API.")
    network_policy: NetworkPolicy = Field(description="Who may reach whom.")
    monitoring: Monitoring = Field(description="Metrics, alerts, dashboards.")
    autoscaling: Autoscaling = Field(description="What scaling engines needs.")
    memory_plan: MemoryPlan = Field(description="The check before anything is applied.")
    rbac: Rbac = Field(description="What the gateway may ask the Kubernetes API.")
    service_account: ServiceAccount = Field(description="The gateway's account.")
    image_pull_secrets: Objects = Field(description="For all pods.")
    common_labels: Texts = Field(description="On every object.")
    name_override: str = Field(description="In place of the chart's name.")
    fullname_override: str = Field(description="In place of release and chart's name.")
