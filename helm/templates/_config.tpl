{{- /* The gateway's configuration file. */ -}}
{{- define "sluicegate.config" -}}
{{- include "sluicegate.check" . -}}
{{- $document := deepCopy .Values -}}
{{- range $key := include "sluicegate.ownKeys" . | fromJsonArray -}}
{{- $_ := unset $document $key -}}
{{- end -}}
{{- $models := (include "sluicegate.models" . | fromJson).models -}}
{{- $_ := set $document "models" (concat $models (include "sluicegate.adapters" $models | fromJson).models) -}}
{{- if .Values.redis.enabled -}}
{{- $redis := dict "store" "redis" "redis_url" (dict "from_env" "GATEWAY_REDIS_URL") -}}
{{- $_ := set $document "limits" (merge $redis ($document.limits | default dict)) -}}
{{- end -}}
{{- toYaml $document -}}
{{- end -}}

{{- /* A LoRA adapter is a model of its own on the replicas of the one it adapts. */ -}}
{{- define "sluicegate.adapters" -}}
{{- $models := list -}}
{{- range $model := . -}}
{{- $byName := dict -}}
{{- range $variant := $model.variants -}}
{{- range $adapter := ($variant.deploy | default dict).lora_adapters | default list -}}
{{- $own := set (omit $variant "deploy" "weight" "limits") "served_model" $adapter.name -}}
{{- $_ := set $byName $adapter.name (append (get $byName $adapter.name | default list) $own) -}}
{{- end -}}
{{- end -}}
{{- range $name := keys $byName | sortAlpha -}}
{{- $models = append $models (merge (dict "name" $name "variants" (get $byName $name)) (omit $model "name" "aliases" "variants" "fallbacks" "limits" "choose")) -}}
{{- end -}}
{{- end -}}
{{- dict "models" $models | toJson -}}
{{- end -}}
