"""The schemas of other projects' objects, as far as the chart uses them; anything else is an error.

Written from their documentation: Prometheus Operator `monitoring.coreos.com/v1`, KEDA 2.17
`keda.sh/v1alpha1`, Gateway API 1.2 `v1`, External Secrets 0.17 `v1`, LeaderWorkerSet 0.6 `v1`.
Pods inside a LeaderWorkerSet are checked with Kubernetes' own schemas.
"""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
LABELS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
SECONDS: Schema = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}


def a(required: str = "", **properties: Schema) -> Schema:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


def some(item: Schema) -> Schema:
    """A list that is not empty."""
    return {"type": "array", "items": item, "minItems": 1}


SELECTOR = a("matchLabels", matchLabels=LABELS)
ENDPOINT = a("port path", port=TEXT, path=TEXT, interval=SECONDS)
RULE = {
    **a("expr", alert=TEXT, record=TEXT, expr=TEXT, labels=LABELS, annotations=LABELS)
    | {"oneOf": [{"required": ["alert"]}, {"required": ["record"]}]},
}
RULE["properties"]["for"] = SECONDS
TARGET = a("apiVersion kind name", apiVersion=TEXT, kind=TEXT, name=TEXT)
TRIGGER = a(
    "type metadata",
    type={"const": "prometheus"},
    name=TEXT,
    metricType={"enum": ["AverageValue", "Value"]},
    metadata=a(
        "serverAddress query threshold",
        serverAddress=TEXT,
        query=TEXT,
        threshold={"type": "string", "pattern": r"^[0-9.]+$"},
        activationThreshold={"type": "string", "pattern": r"^[0-9.]+$"},
    ),
)
SCALE_DOWN = a(
    "stabilizationWindowSeconds policies",
    stabilizationWindowSeconds=COUNT,
    policies=some(a("type value periodSeconds", type=TEXT, value=COUNT, periodSeconds=COUNT)),
)
PATH = a("type value", type={"enum": ["PathPrefix", "Exact"]}, value=TEXT)
ROUTE_RULE = a(
    "matches backendRefs",
    matches=some(a("path", path=PATH)),
    timeouts=a(request=SECONDS, backendRequest=SECONDS),
    backendRefs=some(a("name port", name=TEXT, port=COUNT)),
)
REMOTE = a("key", key=TEXT, property=TEXT)

SPECS: dict[tuple[str, str], Schema] = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): a(
        "selector endpoints", selector=SELECTOR, endpoints=some(ENDPOINT)
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): a(
        "selector podMetricsEndpoints",
        selector=SELECTOR,
        podTargetLabels=some(TEXT),
        podMetricsEndpoints=some(ENDPOINT),
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): a(
        "groups", groups=some(a("name rules", name=TEXT, interval=SECONDS, rules=some(RULE)))
    ),
    ("keda.sh/v1alpha1", "ScaledObject"): a(
        "scaleTargetRef triggers",
        scaleTargetRef=TARGET,
        minReplicaCount=COUNT,
        maxReplicaCount=COUNT,
        pollingInterval=COUNT,
        cooldownPeriod=COUNT,
        fallback=a(
            "failureThreshold replicas",
            failureThreshold=COUNT,
            replicas=COUNT,
            behavior={
                "enum": ["static", "currentReplicas", "currentReplicasIfHigher",
                         "currentReplicasIfLower"]
            },
        ),
        advanced=a(
            horizontalPodAutoscalerConfig=a(behavior=a(scaleDown=SCALE_DOWN)),
        ),
        triggers=some(TRIGGER),
    ),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): a(
        "parentRefs rules",
        parentRefs=some(a("name", name=TEXT, namespace=TEXT, sectionName=TEXT)),
        hostnames=some(TEXT),
        rules=some(ROUTE_RULE),
    ),
    ("external-secrets.io/v1", "ExternalSecret"): a(
        "secretStoreRef target data",
        refreshInterval=SECONDS,
        secretStoreRef=a(
            "name kind", name=TEXT, kind={"enum": ["SecretStore", "ClusterSecretStore"]}
        ),
        target=a("name", name=TEXT, creationPolicy={"enum": ["Owner", "Orphan", "Merge", "None"]}),
        data=some(a("secretKey remoteRef", secretKey=TEXT, remoteRef=REMOTE)),
    ),
    ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"): a(
        "leaderWorkerTemplate",
        replicas=COUNT,
        rolloutStrategy=a(
            "type",
            type={"const": "RollingUpdate"},
            rollingUpdateConfiguration=a(maxUnavailable=COUNT, maxSurge=COUNT),
        ),
        leaderWorkerTemplate=a(
            "workerTemplate size",
            size={"type": "integer", "minimum": 2},
            restartPolicy={"enum": ["RecreateGroupOnPodRestart", "None"]},
            leaderTemplate={"type": "object"},
            workerTemplate={"type": "object"},
        ),
    ),
}  # fmt: skip
