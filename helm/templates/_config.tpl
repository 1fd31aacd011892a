{{- /* The gateway's configuration file. */ -}}
{{- define "sluicegate.config" -}}
{{- include "sluicegate.check" . -}}
{{- $document := deepCopy .Values -}}
{{- range $key := include "sluicegate.ownKeys" . | fromJsonArray -}}
{{- $_ := unset $document $key -}}
{{- end -}}
{{- $_ := set $document "models" (include "sluicegate.models" . | fromJson).models -}}
{{- if .Values.redis.enabled -}}
{{- $redis := dict "store" "redis" "redis_url" (dict "from_env" "GATEWAY_REDIS_URL") -}}
{{- $_ := set $document "limits" (merge $redis ($document.limits | default dict)) -}}
{{- end -}}
{{- toYaml $document -}}
{{- end -}}

{{- /* The names of the LoRA adapters: to clients each is a model, which the gateway makes of it. */ -}}
{{- define "sluicegate.adapters" -}}
{{- $models := list -}}
{{- range $model := . -}}
{{- $names := dict -}}
{{- range $variant := $model.variants -}}
{{- range $adapter := concat ($variant.adapters | default list) (($variant.deploy | default dict).lora_adapters | default list) -}}
{{- $_ := set $names $adapter.name true -}}
{{- end -}}
{{- end -}}
{{- range $name := keys $names | sortAlpha }}{{ $models = append $models (dict "name" $name) }}{{ end -}}
{{- end -}}
{{- dict "models" $models | toJson -}}
{{- end -}}
