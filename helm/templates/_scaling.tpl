{{- /*
What an engine is scaled by, as {signals: [{name, query, target, kind}]}: Prometheus queries over
the gateway's metrics. `kind` AverageValue: the total over all replicas; Value: a ratio to keep at
the target.
*/ -}}
{{- define "sluicegate.signals" -}}
{{- $scaling := .engine.deploy.autoscaling -}}
{{- $which := printf "namespace=%q,variant=%q" .root.Release.Namespace .engine.variant -}}
{{- $signals := list -}}
{{- if include "sluicegate.toZero" $scaling -}}
{{- /* calls that wait or run, and a trace of those of the last minute: what keeps a first replica */ -}}
{{- $names := list -}}
{{- range .engine.asked }}{{ $names = append $names (regexQuoteMeta . | replace "\\" "\\\\") }}{{ end -}}
{{- $all := printf "namespace=%q,variant=~\"%s\"" .root.Release.Namespace (join "|" $names) -}}
{{- $asked := printf "(sum(gateway_wake_demand{%s}) or vector(0)) + (sum(gateway_requests_in_flight{%s}) or vector(0)) + (sum(rate(gateway_requests_total{%s}[1m])) or vector(0))" $all $all $all -}}
{{- $signals = append $signals (dict "name" "demand" "kind" "AverageValue" "target" (toString $scaling.running_per_replica) "query" $asked) -}}
{{- end -}}
{{- with $scaling.running_per_replica -}}
{{- $signals = append $signals (dict "name" "running" "kind" "AverageValue" "target" (toString .)
    "query" (printf "sum(max by (replica) (gateway_replica_load{%s}))" $which)) -}}
{{- end -}}
{{- with $scaling.queue_wait_s -}}
{{- $waited := printf "histogram_quantile(0.95, sum by (le) (rate(gateway_queue_wait_seconds_bucket{%s}[2m])))" $which -}}
{{- $signals = append $signals (dict "name" "queue-wait" "kind" "Value" "target" (toString .)
    "query" (printf "%s >= 0 or vector(0)" $waited)) -}}
{{- end -}}
{{- with $scaling.ttft_slo_s -}}
{{- $slow := printf "1 - sum(rate(gen_ai_server_time_to_first_token_seconds_bucket{%s,le=%q}[5m])) / sum(rate(gen_ai_server_time_to_first_token_seconds_count{%s}[5m]))" $which (include "sluicegate.bucket" .) $which -}}
{{- $signals = append $signals (dict "name" "ttft-burn" "kind" "Value" "target" "1"
    "query" (printf "((%s) / %s) >= 0 or vector(0)" $slow (printf "%.4g" (subf 1 ($scaling.ttft_objective | default 0.95))))) -}}
{{- end -}}
{{- dict "signals" $signals | toJson -}}
{{- end -}}

{{- /* A bound as Prometheus writes it: whole numbers have a point. */ -}}
{{- define "sluicegate.bucket" -}}
{{- $text := toString . -}}
{{- if contains "." $text }}{{ $text }}{{ else }}{{ $text }}.0{{ end -}}
{{- end -}}
