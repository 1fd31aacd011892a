{{- /* The chart's own values; every other key is the gateway's configuration. */ -}}
{{- define "sluicegate.ownKeys" -}}
["gateway","engines","secrets","redis","ingress","httpRoute","networkPolicy","monitoring","autoscaling","memoryPlan","rbac","serviceAccount","imagePullSecrets","commonLabels","nameOverride","fullnameOverride","global"]
{{- end -}}

{{- /* The models as {models: […]}, each with `variants`: the short form of a model is one variant. */ -}}
{{- define "sluicegate.written" -}}
{{- $short := list "engine" "url" "replicas" "discovery" "quantization" "served_model" "api_key" "tls" "deploy" "wake" "bits" "concurrency" -}}
{{- $models := list -}}
{{- range $model := .Values.models -}}
{{- $variants := $model.variants -}}
{{- if not $variants -}}
{{- $variant := dict -}}
{{- range $key := $short }}{{ if hasKey $model $key }}{{ $_ := set $variant $key (get $model $key) }}{{ end }}{{ end -}}
{{- if $variant.url -}}
{{- $variant = set (omit $variant "url") "replicas" (list (dict "url" $variant.url)) -}}
{{- end -}}
{{- $variants = list $variant -}}
{{- end -}}
{{- $whole := $model -}}
{{- range $key := $short }}{{ $whole = omit $whole $key }}{{ end -}}
{{- $models = append $models (set $whole "variants" $variants) -}}
{{- end -}}
{{- dict "models" $models | toJson -}}
{{- end -}}

{{- /* Not empty when there may be no replica: `deploy.autoscaling` with min 0. */ -}}
{{- define "sluicegate.toZero" -}}
{{- if and . (hasKey . "min") (not .min) -}}yes{{- end -}}
{{- end -}}

{{- /* Not empty when a variant's engines sleep while nobody calls. */ -}}
{{- define "sluicegate.sleeps" -}}
{{- if eq ((.wake | default dict).method | default "wait") "vllm-sleep" -}}yes{{- end -}}
{{- end -}}

{{- /* Not empty when the chart starts a variant's engines; where it is said where they are, others do. */ -}}
{{- define "sluicegate.isStarted" -}}
{{- if and (hasKey . "deploy") (not .replicas) (not .discovery) -}}yes{{- end -}}
{{- end -}}

{{- /* The models as the gateway reads them: engines that the chart starts have their addresses. */ -}}
{{- define "sluicegate.models" -}}
{{- $root := . -}}
{{- $models := list -}}
{{- range $model := (include "sluicegate.written" . | fromJson).models -}}
{{- $variants := list -}}
{{- range $variant := $model.variants -}}
{{- if include "sluicegate.isStarted" $variant -}}
{{- $engine := include "sluicegate.engine" (dict "root" $root "model" $model "variant" $variant) | fromJson -}}
{{- $variant = merge (include "sluicegate.addresses" (dict "root" $root "engine" $engine) | fromJson) $variant -}}
{{- if and (include "sluicegate.toZero" $variant.deploy.autoscaling) (not $variant.wake) -}}
{{- $variant = set $variant "wake" dict -}}
{{- end -}}
{{- end -}}
{{- $variants = append $variants $variant -}}
{{- end -}}
{{- $models = append $models (set $model "variants" $variants) -}}
{{- end -}}
{{- dict "models" $models | toJson -}}
{{- end -}}

{{- /* One deployed variant, with everything that is a default filled in: dict "root", "model", "variant". */ -}}
{{- define "sluicegate.engine" -}}
{{- $kind := .variant.engine -}}
{{- $deploy := .variant.deploy -}}
{{- $common := get .root.Values.engines $kind | default dict -}}
{{- $name := include "sluicegate.slug" (printf "%s-%s-%s" (include "sluicegate.fullname" .root) .model.name (.variant.quantization | default "")) -}}
{{- $scaling := $deploy.autoscaling | default dict -}}
{{- $image := dict "repository" ($common.image).repository "tag" ($common.image).tag "digest" (($common.image).digest | default "") "pull_policy" (($common.image).pullPolicy) -}}
{{- if ($deploy.image).tag -}}{{- $_ := unset $image "digest" -}}{{- end -}}
{{- $served := .variant.served_model | default .model.name -}}
{{- $tag := ternary (printf ":%s" (.variant.quantization | default "")) "" (not (empty .variant.quantization)) -}}
{{- $asked := list (print .model.name $tag) -}}
{{- range $deploy.lora_adapters }}{{ $asked = append $asked (print .name $tag) }}{{ end -}}
{{- dict
    "name" $name
    "kind" $kind
    "model" .model.name
    "variant" (first $asked)
    "asked" $asked
    "served" $served
    "load" ($deploy.path | default $deploy.model | default $served)
    "source" ($deploy.model | default $served)
    "deploy" $deploy
    "cache" (merge (deepCopy ($deploy.cache | default dict)) (dict "kind" "ephemeral" "size_gib" 100 "predownload" false))
    "pod" ($deploy.pod | default dict)
    "resources" (($deploy.pod | default dict).resources | default $common.resources)
    "image" (merge (deepCopy ($deploy.image | default dict)) $image)
    "port" (ternary 8000 8080 (eq $kind "vllm"))
    "first" (ternary 0 ($scaling.min | default $deploy.replicas | default 1 | int64) (not (empty (include "sluicegate.toZero" $scaling))))
    "sleeps" (include "sluicegate.sleeps" .variant)
    "most" ($scaling.max | default $deploy.replicas | default 1 | int64)
    "nodes" ($deploy.nodes | default 1 | int64)
    "gpus" (ternary (div ($deploy.gpus | default 1 | int64) ($deploy.nodes | default 1 | int64)) 0 (not (empty $deploy.gpu)))
    "loadTime" ($deploy.load_time_s | default $common.loadTimeSeconds | default 0 | int64)
    "drain" ($deploy.drain_s | default $common.drainSeconds | default 0 | int64)
    "apiKeyFrom" ((.variant.api_key | default dict).from_env | default "")
  | toJson -}}
{{- end -}}

{{- /* All variants that the chart starts, as {engines: […]}, once the values are known to be right. */ -}}
{{- define "sluicegate.engines" -}}
{{- include "sluicegate.check" . -}}
{{- include "sluicegate.unchecked" . -}}
{{- end -}}

{{- define "sluicegate.unchecked" -}}
{{- $root := . -}}
{{- $engines := list -}}
{{- range $model := (include "sluicegate.written" . | fromJson).models -}}
{{- range $variant := $model.variants -}}
{{- if include "sluicegate.isStarted" $variant -}}
{{- $engines = append $engines (include "sluicegate.engine" (dict "root" $root "model" $model "variant" $variant) | fromJson) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- dict "engines" $engines | toJson -}}
{{- end -}}

{{- /*
Where the gateway finds an engine's replicas: dict "root", "engine". By EndpointSlices, where it may
read them: the pods that there are. Else the stable names of as many as there may be: short names,
which the first entry of a pod's search list completes. Where several pods make one replica, only
the first of them answers, and slices do not tell it from the others.
*/ -}}
{{- define "sluicegate.addresses" -}}
{{- $engine := .engine -}}
{{- if and .root.Values.rbac.endpointSlices (eq (int $engine.nodes) 1) -}}
{{- dict "discovery" (dict "kubernetes" (dict "service" $engine.name "port" "http")) | toJson -}}
{{- else -}}
{{- $replicas := list -}}
{{- range $number := until (int $engine.most) -}}
{{- $pod := printf "%s-%d" $engine.name $number -}}
{{- $replicas = append $replicas (dict "name" $pod "url" (printf "http://%s.%s:%d" $pod $engine.name (int64 $engine.port))) -}}
{{- end -}}
{{- dict "replicas" $replicas | toJson -}}
{{- end -}}
{{- end -}}
