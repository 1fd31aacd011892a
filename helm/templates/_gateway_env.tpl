{{- /* `env` and `envFrom` of the gateway. */ -}}
{{- define "sluicegate.gatewayEnv" -}}
env:
  - {name: GATEWAY_CONFIG, value: /etc/sluicegate/gateway.yaml}
  - {name: GATEWAY_LOG_LEVEL, value: {{ .Values.gateway.logLevel }}}
  {{- if .Values.redis.enabled }}
  {{- $host := printf "%s-redis:6379/0" (include "sluicegate.fullname" .) }}
  {{- if .Values.redis.passwordSecret.name }}
  - name: REDIS_PASSWORD
    valueFrom:
      secretKeyRef: {name: {{ .Values.redis.passwordSecret.name }}, key: {{ .Values.redis.passwordSecret.key }}}
  - {name: GATEWAY_REDIS_URL, value: "redis://:$(REDIS_PASSWORD)@{{ $host }}"}
  {{- else }}
  - {name: GATEWAY_REDIS_URL, value: "redis://{{ $host }}"}
  {{- end }}
  {{- end }}
  {{- with .Values.gateway.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with include "sluicegate.secret" . }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
{{- end -}}
