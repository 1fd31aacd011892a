{{- define "sluicegate.quantizations" -}}{"vllm":{"fp8":"fp8"},"tgi":{}}{{- end -}}
