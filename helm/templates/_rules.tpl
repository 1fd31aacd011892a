{{- /* Alerts over the gateway's metrics, and the series that plain HPAs of engines read. */ -}}
{{- define "sluicegate.rules" -}}
{{- $here := printf "namespace=%q" .Release.Namespace -}}
{{- $scaled := list -}}
{{- $names := list -}}
{{- range $engine := (include "sluicegate.engines" . | fromJson).engines -}}
{{- if $engine.deploy.autoscaling -}}
{{- $scaled = append $scaled $engine -}}
{{- $names = append $names (regexQuoteMeta $engine.variant | replace "\\" "\\\\") -}}
{{- end -}}
{{- end -}}
{{- /* where replicas come and go, one that is out may be one that is not wanted */ -}}
{{- $fixed := ternary (printf "%s,variant!~\"%s\"" $here (join "|" $names)) $here (not (empty $names)) -}}
- name: sluicegate
  rules:
    - alert: SluicegateModelDown
      {{- /* what may be away on purpose is another alert's */}}
      expr: |-
        max by (model, variant) (gateway_replica_usable{ {{- $here -}} }) == 0
        unless on (variant) gateway_wake_demand{ {{- $here -}} }
      for: 2m
      labels: {severity: critical}
      annotations:
        summary: 'No replica of {{ "{{ $labels.variant }}" }} can be used.'
        description: Calls for it go to its fallbacks, or fail with 503. GET /admin/fleet says why each replica is out.
    - alert: SluicegateNotWoken
      expr: |-
        sum by (model, variant) (gateway_wake_demand{ {{- $here -}} }) > 0
        unless on (variant) max by (variant) (gateway_replica_usable{ {{- $here -}} }) == 1
      for: 10m
      labels: {severity: critical}
      annotations:
        summary: 'Calls for {{ "{{ $labels.variant }}" }} have waited for its engines for 10 minutes.'
        description: Nobody starts them, or they do not start. GET /admin/fleet says how each replica is.
    - alert: SluicegateReplicaOut
      expr: |-
        max by (model, variant, replica) (gateway_replica_usable{ {{- $fixed -}} }) == 0
        and on (variant) max by (variant) (gateway_replica_usable{ {{- $here -}} }) == 1
        unless on (variant) gateway_wake_demand{ {{- $here -}} }
      for: 15m
      labels: {severity: warning}
      annotations:
        summary: 'Replica {{ "{{ $labels.replica }}" }} of {{ "{{ $labels.variant }}" }} has been out for 15 minutes.'
    - alert: SluicegateReplicaEjected
      expr: max by (model, variant, replica) (gateway_replica_ejected{ {{- $here -}} }) == 1
      for: 10m
      labels: {severity: warning}
      annotations:
        summary: 'Replica {{ "{{ $labels.replica }}" }} passes its probes and fails its requests.'
    - alert: SluicegateConfigRefused
      expr: min by (pod) (gateway_config_valid{ {{- $here -}} }) == 0
      for: 2m
      labels: {severity: warning}
      annotations:
        summary: The configuration on disk is not the one that serves.
        description: GET /ready lists its problems.
    - alert: SluicegateErrors
      expr: |-
        sum by (model) (rate(gateway_requests_total{ {{- $here -}} ,outcome=~"engine_error|gateway_error"}[5m]))
        / sum by (model) (rate(gateway_requests_total{ {{- $here -}} }[5m])) > 0.05
      for: 5m
      labels: {severity: critical}
      annotations:
        summary: 'More than 5 % of the calls for {{ "{{ $labels.model }}" }} fail.'
    - alert: SluicegateRetryBudgetSpent
      expr: sum by (model) (rate(gateway_retries_refused_total{ {{- $here -}} ,reason="budget"}[5m])) > 0
      for: 5m
      labels: {severity: warning}
      annotations:
        summary: 'More calls for {{ "{{ $labels.model }}" }} fail than retries may hide.'
    - alert: SluicegateLimitStoreAway
      expr: sum(gateway_limit_store_away{ {{- $here -}} }) > 0
      for: 5m
      labels: {severity: warning}
      annotations:
        summary: The gateway counts limits without Redis.
{{- if $scaled }}
- name: sluicegate-engines
  interval: 15s
  rules:
    {{- range $engine := $scaled }}
    {{- range (include "sluicegate.signals" (dict "root" $ "engine" $engine) | fromJson).signals }}
    - record: sluicegate_engine_{{ .name | replace "-" "_" }}
      expr: {{ .query | quote }}
      labels: {engine: {{ $engine.name }}}
    {{- end }}
    {{- with $engine.deploy.autoscaling.ttft_slo_s }}
    - alert: SluicegateFirstTokenLate
      expr: sluicegate_engine_ttft_burn{engine={{ $engine.name | quote }}} > 1
      for: 10m
      labels: {severity: warning, engine: {{ $engine.name }}}
      annotations:
        summary: 'Too many first tokens of {{ $engine.variant }} take more than {{ . }} s.'
    {{- end }}
    {{- end }}
{{- end -}}
{{- end -}}
