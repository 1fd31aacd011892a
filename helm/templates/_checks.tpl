{{- /* Everything wrong with the values that their schema cannot say, one sentence each. */ -}}
{{- define "sluicegate.check" -}}
{{- $root := . -}}
{{- $problems := list -}}
{{- range $at, $model := .Values.models -}}
{{- range $key := list "engine" "url" "replicas" "quantization" "served_model" "api_key" "tls" "deploy" -}}
{{- if and $model.variants (hasKey $model $key) -}}
{{- $problems = append $problems (printf "models[%d].%s: belongs to each of the variants, once they are given" $at $key) -}}
{{- end -}}
{{- end -}}
{{- if not (or $model.variants $model.engine) -}}
{{- $problems = append $problems (printf "models[%d].engine: required, or variants that have one" $at) -}}
{{- end -}}
{{- end -}}
{{- $models := (include "sluicegate.written" . | fromJson).models -}}
{{- $whole := concat $models (include "sluicegate.adapters" $models | fromJson).models -}}
{{- $fallbacks := dict -}}
{{- $names := dict -}}
{{- range $model := $whole -}}
{{- $_ := set $fallbacks $model.name ($model.fallbacks | default list) -}}
{{- range $name := prepend ($model.aliases | default list) $model.name -}}
{{- if hasKey $names $name -}}
{{- $problems = append $problems (printf "models: the name %q is given twice" $name) -}}
{{- end -}}
{{- $_ := set $names $name true -}}
{{- end -}}
{{- end -}}
{{- range $at, $model := $models -}}
{{- range $fallback := $model.fallbacks | default list -}}
{{- if not (hasKey $fallbacks $fallback) -}}
{{- $problems = append $problems (printf "models[%d].fallbacks: %q is no model" $at $fallback) -}}
{{- end -}}
{{- end -}}
{{- if include "sluicegate.leadsBack" (dict "name" $model.name "fallbacks" $fallbacks) -}}
{{- $problems = append $problems (printf "models[%d].fallbacks: they lead back to %q" $at $model.name) -}}
{{- end -}}
{{- range $number, $variant := $model.variants -}}
{{- $path := ternary (printf "models[%d].variants[%d]" $at $number) (printf "models[%d]" $at) (hasKey (index $root.Values.models $at) "variants") -}}
{{- if not (or $variant.replicas (hasKey $variant "deploy")) -}}
{{- $problems = append $problems (printf "%s: give url, replicas or deploy" $path) -}}
{{- end -}}
{{- if include "sluicegate.isStarted" $variant -}}
{{- range $problem := (include "sluicegate.checkDeploy" (dict "variant" $variant) | fromJson).problems -}}
{{- $problems = append $problems (printf "%s.%s" $path $problem) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $workloads := dict -}}
{{- range $engine := (include "sluicegate.unchecked" . | fromJson).engines -}}
{{- if hasKey $workloads $engine.name -}}
{{- $problems = append $problems (printf "models: %q and %q would both be named %q in Kubernetes, rename one" (get $workloads $engine.name) $engine.variant $engine.name) -}}
{{- end -}}
{{- $_ := set $workloads $engine.name $engine.variant -}}
{{- if and $engine.apiKeyFrom (not (include "sluicegate.secret" $root)) -}}
{{- $problems = append $problems (printf "secrets.existingSecret: name the Secret that has %s, the key of the engines of %q" $engine.apiKeyFrom $engine.variant) -}}
{{- end -}}
{{- end -}}
{{- range $where, $tag := dict "gateway" .Values.gateway.image.tag "engines.vllm" .Values.engines.vllm.image.tag "engines.tgi" .Values.engines.tgi.image.tag "engines.llamacpp" .Values.engines.llamacpp.image.tag "redis" .Values.redis.image.tag -}}
{{- if eq $tag "latest" -}}
{{- $problems = append $problems (printf "%s.image.tag: name a version, latest is another one tomorrow" $where) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.redis.enabled ((.Values.limits | default dict).redis_url) -}}
{{- $problems = append $problems "limits.redis_url: leave it out, redis.enabled sets it" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- $problems = append $problems "ingress.host: say which host" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- $problems = append $problems "httpRoute.parentRefs: say which Gateway" -}}
{{- end -}}
{{- if and .Values.secrets.external.enabled (or (not .Values.secrets.external.store.name) (not .Values.secrets.external.data)) -}}
{{- $problems = append $problems "secrets.external: give store.name and data" -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n%s" (join "\n" (uniq $problems))) -}}
{{- end -}}
{{- end -}}

{{- /* Not empty when the fallbacks of a model lead back to it: dict "name", "fallbacks". */ -}}
{{- define "sluicegate.leadsBack" -}}
{{- $fallbacks := .fallbacks -}}
{{- $reached := get .fallbacks .name -}}
{{- range $_ := keys .fallbacks -}}
{{- range $name := $reached -}}
{{- $reached = concat $reached (get $fallbacks $name | default list) | uniq -}}
{{- end -}}
{{- end -}}
{{- if has .name $reached -}}yes{{- end -}}
{{- end -}}

{{- define "sluicegate.checkDeploy" -}}
{{- $problems := list -}}
{{- $deploy := .variant.deploy -}}
{{- $kind := .variant.engine -}}
{{- $nodes := $deploy.nodes | default 1 | int64 -}}
{{- $gpus := $deploy.gpus | default 1 | int64 -}}
{{- if eq $kind "openai" -}}
{{- $problems = append $problems "deploy: engines of the kind openai are not deployed, give url or replicas" -}}
{{- end -}}
{{- if eq (($deploy.image | default dict).tag | default "") "latest" -}}
{{- $problems = append $problems "deploy.image.tag: name a version, latest is another one tomorrow" -}}
{{- end -}}
{{- if and (gt $nodes 1) (ne $kind "vllm") -}}
{{- $problems = append $problems (printf "deploy.nodes: only vllm spreads one replica over nodes, not %s" $kind) -}}
{{- end -}}
{{- if mod $gpus $nodes -}}
{{- $problems = append $problems (printf "deploy.gpus: %d cannot be divided among %d nodes" $gpus $nodes) -}}
{{- end -}}
{{- if and $deploy.autoscaling $deploy.replicas -}}
{{- $problems = append $problems "deploy.replicas: leave it out, autoscaling has min and max" -}}
{{- end -}}
{{- with $deploy.autoscaling -}}
{{- if gt (.min | default 1 | int64) (int64 .max) -}}
{{- $problems = append $problems (printf "deploy.autoscaling: min %d is more than max %d" (.min | int64) (int64 .max)) -}}
{{- end -}}
{{- if not (or .running_per_replica .queue_wait_s .ttft_slo_s) -}}
{{- $problems = append $problems "deploy.autoscaling: give running_per_replica, queue_wait_s or ttft_slo_s, or several" -}}
{{- end -}}
{{- end -}}
{{- if and ($deploy.cache | default dict).existing_claim (ne (($deploy.cache).kind | default "") "shared") -}}
{{- $problems = append $problems "deploy.cache.existing_claim: needs kind: shared" -}}
{{- end -}}
{{- if and ($deploy.cache | default dict).predownload (eq $kind "llamacpp") -}}
{{- $problems = append $problems "deploy.cache.predownload: llama.cpp's image has nothing to download with, the engine does it itself" -}}
{{- end -}}
{{- if and $deploy.lora_adapters (not (has $kind (list "vllm" "tgi"))) -}}
{{- $problems = append $problems (printf "deploy.lora_adapters: only those of vllm and tgi can be asked for by name, not %s's" $kind) -}}
{{- end -}}
{{- if has $kind (list "vllm" "tgi") -}}
{{- $known := get (include "sluicegate.quantizations" . | fromJson) $kind -}}
{{- $given := $deploy.quantization | default "" | lower -}}
{{- if and $given (ne $given "checkpoint") (not (hasKey $known $given)) -}}
{{- $problems = append $problems (printf "deploy.quantization: %s cannot run %q; it knows: %s" $kind $given (keys $known | sortAlpha | join ", ")) -}}
{{- end -}}
{{- if and (not $given) (get $known (.variant.quantization | default "" | lower)) -}}
{{- $problems = append $problems (printf "deploy.quantization: say %s if the engine is to quantize while it loads, or checkpoint if the files are quantized" .variant.quantization) -}}
{{- end -}}
{{- end -}}
{{- dict "problems" $problems | toJson -}}
{{- end -}}
