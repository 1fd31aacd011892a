{{- define "sluicegate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Labels that select: dict "root", "component". */ -}}
{{- define "sluicegate.selector" -}}
app.kubernetes.io/name: {{ .root.Values.nameOverride | default .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "sluicegate.labels" -}}
{{ include "sluicegate.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Labels of one engine's pods: dict "root", "engine". */ -}}
{{- define "sluicegate.engineSelector" -}}
{{ include "sluicegate.selector" (dict "root" .root "component" "engine") }}
sluicegate.io/engine: {{ .engine.name }}
{{- end -}}

{{- define "sluicegate.engineLabels" -}}
{{ include "sluicegate.labels" (dict "root" .root "component" "engine") }}
sluicegate.io/engine: {{ .engine.name }}
{{- end -}}

{{- /* What a name may be in Kubernetes; one that is too long ends with a part of its hash. */ -}}
{{- define "sluicegate.slug" -}}
{{- $slug := regexReplaceAll "[^a-z0-9]+" (lower .) "-" | trimAll "-" -}}
{{- if gt (len $slug) 45 -}}
{{- printf "%s-%s" (trunc 38 $slug | trimSuffix "-") (sha256sum . | trunc 6) -}}
{{- else -}}
{{- $slug -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "sluicegate.fullname" .) -}}
{{- end -}}

{{- /* repository:tag, and the digest where there is one. */ -}}
{{- define "sluicegate.image" -}}
{{- .repository }}:{{ .tag }}{{ with .digest }}@{{ . }}{{ end -}}
{{- end -}}

{{- define "sluicegate.gatewayImage" -}}
{{- include "sluicegate.image" (merge (dict "tag" (.Values.gateway.image.tag | default .Chart.AppVersion)) .Values.gateway.image) -}}
{{- end -}}

{{- /* The Secret whose keys are variables of the gateway; empty where there is none. */ -}}
{{- define "sluicegate.secret" -}}
{{- if .Values.secrets.external.enabled -}}
{{- include "sluicegate.fullname" . }}-secrets
{{- else -}}
{{- .Values.secrets.existingSecret -}}
{{- end -}}
{{- end -}}

{{- /* Pod Security "restricted". */ -}}
{{- define "sluicegate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "sluicegate.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end -}}
