{{- /* The pod of one replica, or of one node of it: dict "root", "engine", "role" (single, leader, worker). */ -}}
{{- define "sluicegate.enginePod" -}}
{{- $root := .root -}}
{{- $engine := .engine -}}
{{- $role := .role -}}
{{- $deploy := .engine.deploy -}}
{{- $pod := .engine.pod -}}
{{- $start := include "sluicegate.start" $engine | fromJson -}}
{{- $args := $start.args -}}
{{- if ne $role "single" -}}
{{- $args = concat $args (list "--distributed-executor-backend" "mp" "--nnodes" "$(LWS_GROUP_SIZE)" "--node-rank" "$(LWS_WORKER_INDEX)" "--master-addr" "$(LWS_LEADER_ADDRESS)") -}}
{{- if eq $role "worker" }}{{ $args = append $args "--headless" }}{{ end -}}
{{- end -}}
metadata:
  labels:
    {{- /* none that a new chart changes: engines are not restarted for nothing */}}
    {{- include "sluicegate.engineSelector" (dict "root" $root "engine" $engine) | nindent 4 }}
    {{- if eq $role "worker" }}
    sluicegate.io/role: worker
    {{- end }}
    {{- with $pod.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $pod.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  # preStop, then the engine's own drain, then a margin
  terminationGracePeriodSeconds: {{ add 5 (int64 $engine.drain) 25 }}
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.runtime_class }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with $pod.priority_class }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $pod.node_selector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.topology_spread }}
  topologySpreadConstraints:
    {{- range . }}
    - {{ merge (deepCopy .) (dict "labelSelector" (dict "matchLabels" (dict "sluicegate.io/engine" $engine.name))) | toYaml | nindent 6 | trim }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- include "sluicegate.podSecurity" . | nindent 4 }}
  {{- if $engine.cache.predownload }}
  initContainers:
    - name: model
      {{- if eq $engine.cache.kind "shared" }}
      {{- /* the job fetches it once for all; whoever starts early waits */}}
      image: {{ include "sluicegate.image" $engine.image }}
      command: [sh, -c]
      args:
        - 'for _ in $(seq {{ div (int64 $engine.loadTime) 5 }}); do test -f "$HF_HOME/{{ include "sluicegate.downloaded" $engine }}" && exit 0; sleep 5; done; echo "the model was not fetched in time" >&2; exit 1'
      {{- else }}
      {{- include "sluicegate.download" (dict "root" $root "engine" $engine) | nindent 6 }}
      {{- end }}
      imagePullPolicy: {{ $engine.image.pull_policy }}
      securityContext:
        {{- include "sluicegate.containerSecurity" . | nindent 8 }}
      resources:
        requests: {cpu: "1", memory: 2Gi}
        limits: {memory: 8Gi}
      env:
        {{- include "sluicegate.engineEnv" (dict "root" $root "engine" $engine) | nindent 8 }}
      volumeMounts:
        - {name: models, mountPath: /models}
        - {name: tmp, mountPath: /tmp}
  {{- end }}
  containers:
    - name: engine
      image: {{ include "sluicegate.image" $engine.image }}
      imagePullPolicy: {{ $engine.image.pull_policy }}
      command: {{ toJson $start.command }}
      args:
        {{- toYaml $args | nindent 8 }}
      env:
        {{- include "sluicegate.engineEnv" (dict "root" $root "engine" $engine) | nindent 8 }}
        {{- with $pod.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      securityContext:
        {{- include "sluicegate.containerSecurity" . | nindent 8 }}
      {{- if ne $role "worker" }}
      ports:
        - {name: http, containerPort: {{ int64 $engine.port }}, protocol: TCP}
      startupProbe:
        httpGet: {path: /health, port: http}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: {{ max 1 (div (add (int64 $engine.loadTime) 4) 5) }}
      readinessProbe:
        httpGet: {path: /health, port: http}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 3
      livenessProbe:
        httpGet: {path: /health, port: http}
        periodSeconds: 10
        timeoutSeconds: 10
        failureThreshold: 6
      {{- /* a worker listens on no port: its group is started anew when one of its pods ends */}}
      {{- end }}
      lifecycle:
        preStop:
          sleep: {seconds: 5}
      resources:
        {{- include "sluicegate.engineResources" $engine | nindent 8 }}
      volumeMounts:
        - {name: models, mountPath: /models}
        - {name: shm, mountPath: /dev/shm}
        - {name: tmp, mountPath: /tmp}
        {{- with $pod.volume_mounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: shm
      emptyDir: {medium: Memory, sizeLimit: {{ $pod.shared_memory_gib | default 8 }}Gi}
    - name: tmp
      emptyDir: {}
    {{- if eq $engine.cache.kind "ephemeral" }}
    - name: models
      emptyDir: {sizeLimit: {{ int64 $engine.cache.size_gib }}Gi}
    {{- else if eq $engine.cache.kind "shared" }}
    - name: models
      persistentVolumeClaim: {claimName: {{ include "sluicegate.claim" $engine }}}
    {{- else if ne $role "single" }}
    - name: models
      ephemeral:
        volumeClaimTemplate:
          {{- include "sluicegate.claimSpec" (dict "engine" $engine "mode" "ReadWriteOnce") | nindent 10 }}
    {{- end }}
    {{- with $pod.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "sluicegate.engineResources" -}}
{{- $resources := deepCopy .resources -}}
{{- $gpus := int64 .gpus -}}
{{- if $gpus -}}
{{- $name := .deploy.gpu_resource | default "nvidia.com/gpu" -}}
{{- $_ := set $resources "requests" (merge (dict $name (toString $gpus)) ($resources.requests | default dict)) -}}
{{- $_ := set $resources "limits" (merge (dict $name (toString $gpus)) ($resources.limits | default dict)) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- define "sluicegate.engineEnv" -}}
{{- $engine := .engine -}}
- {name: HOME, value: /tmp}
- {name: USER, value: engine}
- {name: HF_HOME, value: /models}
{{- if eq .engine.kind "vllm" }}
- {name: VLLM_CACHE_ROOT, value: /models/vllm}
- {name: VLLM_NO_USAGE_STATS, value: "1"}
- {name: VLLM_ENGINE_READY_TIMEOUT_S, value: {{ int64 .engine.loadTime | quote }}}
{{- /* longer than the gateway keeps an idle connection */}}
- {name: VLLM_HTTP_TIMEOUT_KEEP_ALIVE, value: "75"}
{{- if .engine.sleeps }}
{{- /* its /sleep and /wake_up, and routes that nobody but the gateway may reach */}}
- {name: VLLM_SERVER_DEV_MODE, value: "1"}
{{- end }}
{{- else if eq .engine.kind "tgi" }}
- {name: HUGGINGFACE_HUB_CACHE, value: /models/hub}
- {name: USAGE_STATS, value: "off"}
{{- else }}
- {name: LLAMA_CACHE, value: /models}
{{- end }}
{{- with .root.Values.secrets.huggingFace }}
{{- if .existingSecret }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef: {name: {{ .existingSecret }}, key: {{ .key }}}
{{- end }}
{{- end }}
{{- with .engine.apiKeyFrom }}
- name: {{ get (dict "vllm" "VLLM_API_KEY" "tgi" "API_KEY" "llamacpp" "LLAMA_API_KEY") $engine.kind }}
  valueFrom:
    secretKeyRef: {name: {{ include "sluicegate.secret" $.root }}, key: {{ . }}}
{{- end }}
{{- end -}}

{{- /* Fetches the model's files into the cache. */ -}}
{{- define "sluicegate.download" -}}
{{- $engine := .engine -}}
image: {{ include "sluicegate.image" $engine.image }}
command: [sh, -c]
args:
  - '{{ ternary "text-generation-server download-weights" "hf download" (eq $engine.kind "tgi") }} "$0" && touch "$HF_HOME/{{ include "sluicegate.downloaded" $engine }}"'
  - {{ $engine.source | quote }}
{{- end -}}

{{- /* The file that says the model is there. */ -}}
{{- define "sluicegate.downloaded" -}}
downloaded-{{ sha256sum .source | trunc 10 }}
{{- end -}}

{{- define "sluicegate.claim" -}}
{{- .cache.existing_claim | default (printf "%s-models" .name) -}}
{{- end -}}

{{- define "sluicegate.claimSpec" -}}
spec:
  accessModes: [{{ .mode }}]
  {{- with .engine.cache.storage_class }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ int64 .engine.cache.size_gib }}Gi
{{- end -}}
