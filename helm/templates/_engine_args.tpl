{{- /* How an engine is started, as {command: […], args: […]}. The flags are those of `gateway plan`. */ -}}
{{- define "sluicegate.start" -}}
{{- $engine := . -}}
{{- $args := list -}}
{{- $command := list -}}
{{- if eq .kind "vllm" -}}
{{- $command = list "vllm" "serve" -}}
{{- $args = (include "sluicegate.vllmArgs" . | fromJson).args -}}
{{- else if eq .kind "tgi" -}}
{{- $command = list "text-generation-launcher" -}}
{{- $args = (include "sluicegate.tgiArgs" . | fromJson).args -}}
{{- else -}}
{{- $command = list "/app/llama-server" -}}
{{- $args = (include "sluicegate.llamacppArgs" . | fromJson).args -}}
{{- end -}}
{{- dict "command" $command "args" (concat $args (.deploy.extra_args | default list)) | toJson -}}
{{- end -}}

{{- define "sluicegate.vllmArgs" -}}
{{- $d := .deploy -}}
{{- $args := list .load "--served-model-name" .served "--port" (int64 .port | toString) "--shutdown-timeout" (int64 .drain | toString) "--enable-prompt-tokens-details" -}}
{{- if $d.max_model_len }}{{ $args = concat $args (list "--max-model-len" (int64 $d.max_model_len | toString)) }}{{ end -}}
{{- if $d.gpu_memory_utilization }}{{ $args = concat $args (list "--gpu-memory-utilization" (toString $d.gpu_memory_utilization)) }}{{ end -}}
{{- if $d.max_num_seqs }}{{ $args = concat $args (list "--max-num-seqs" (int64 $d.max_num_seqs | toString)) }}{{ end -}}
{{- if $d.max_num_batched_tokens }}{{ $args = concat $args (list "--max-num-batched-tokens" (int64 $d.max_num_batched_tokens | toString)) }}{{ end -}}
{{- $gpus := $d.gpus | default 1 | int64 -}}
{{- $tensor := $d.tensor_parallel | default 0 | int64 -}}
{{- $pipeline := $d.pipeline_parallel | default 0 | int64 -}}
{{- if not $pipeline }}{{ $pipeline = ternary (max 1 (div $gpus (max 1 $tensor))) 1 (gt $tensor 0) }}{{ end -}}
{{- if not $tensor }}{{ $tensor = max 1 (div $gpus $pipeline) }}{{ end -}}
{{- if ne (mul $tensor $pipeline) $gpus }}{{ fail (printf "\nmodels: %q: tensor_parallel %d × pipeline_parallel %d are %d GPUs, gpus says %d" .variant $tensor $pipeline (mul $tensor $pipeline) $gpus) }}{{ end -}}
{{- if gt $tensor 1 }}{{ $args = concat $args (list "--tensor-parallel-size" (toString $tensor)) }}{{ end -}}
{{- if gt $pipeline 1 }}{{ $args = concat $args (list "--pipeline-parallel-size" (toString $pipeline)) }}{{ end -}}
{{- $dtype := $d.dtype | default "auto" -}}
{{- $quantization := $d.quantization | default "" | lower -}}
{{- if has $quantization (list "fp32" "float32" "float") }}{{ $dtype = "float32" }}{{ end -}}
{{- if ne $dtype "auto" }}{{ $args = concat $args (list "--dtype" (include "sluicegate.dtype" $dtype)) }}{{ end -}}
{{- with get (include "sluicegate.quantizations" . | fromJson).vllm $quantization }}{{ $args = concat $args (list "--quantization" .) }}{{ end -}}
{{- if ne ($d.kv_cache_dtype | default "auto") "auto" }}{{ $args = concat $args (list "--kv-cache-dtype" $d.kv_cache_dtype) }}{{ end -}}
{{- if $d.cpu_offload_gib }}{{ $args = concat $args (list "--cpu-offload-gb" (toString $d.cpu_offload_gib)) }}{{ end -}}
{{- if $d.lora_adapters -}}
{{- $args = concat $args (list "--enable-lora" "--max-loras" (len $d.lora_adapters | toString)) -}}
{{- with $d.max_lora_rank }}{{ $args = concat $args (list "--max-lora-rank" (int64 . | toString)) }}{{ end -}}
{{- $args = append $args "--lora-modules" -}}
{{- range $d.lora_adapters }}{{ $args = append $args (printf "%s=%s" .name .source) }}{{ end -}}
{{- end -}}
{{- dict "args" $args | toJson -}}
{{- end -}}

{{- define "sluicegate.tgiArgs" -}}
{{- $d := .deploy -}}
{{- $length := $d.max_model_len | default 4096 | int64 -}}
{{- $args := list
    "--model-id" .load
    "--hostname" "0.0.0.0"
    "--port" (int64 .port | toString)
    "--json-output"
    "--graceful-termination-timeout" (int64 .drain | toString)
    "--max-total-tokens" (toString $length)
    "--max-input-tokens" (sub $length 1 | toString)
    "--max-batch-prefill-tokens" ($d.max_num_batched_tokens | default (max 4096 $length) | int64 | toString)
    "--max-concurrent-requests" ($d.max_num_seqs | default 128 | int64 | toString) -}}
{{- $shards := $d.tensor_parallel | default $d.gpus | default 1 | int64 -}}
{{- if gt $shards 1 }}{{ $args = concat $args (list "--num-shard" (toString $shards)) }}{{ end -}}
{{- with get (include "sluicegate.quantizations" . | fromJson).tgi ($d.quantization | default "" | lower) }}{{ $args = concat $args (list "--quantize" .) }}{{ end -}}
{{- $cache := $d.kv_cache_dtype | default "auto" -}}
{{- if ne $cache "auto" }}{{ $args = concat $args (list "--kv-cache-dtype" (ternary "fp8_e4m3fn" "fp8_e5m2" (eq $cache "fp8"))) }}{{ end -}}
{{- if ne ($d.dtype | default "auto") "auto" }}{{ $args = concat $args (list "--dtype" (include "sluicegate.dtype" $d.dtype)) }}{{ end -}}
{{- with $d.gpu_memory_utilization }}{{ $args = concat $args (list "--cuda-memory-fraction" (toString .)) }}{{ end -}}
{{- $adapters := list -}}
{{- range $d.lora_adapters }}{{ $adapters = append $adapters (printf "%s=%s" .name .source) }}{{ end -}}
{{- with $adapters }}{{ $args = concat $args (list "--lora-adapters" (join "," .)) }}{{ end -}}
{{- dict "args" $args | toJson -}}
{{- end -}}

{{- define "sluicegate.llamacppArgs" -}}
{{- $d := .deploy -}}
{{- $slots := $d.max_num_seqs | default 4 | int64 -}}
{{- $length := $d.max_model_len | default 4096 | int64 -}}
{{- $args := list (ternary "--model" "--hf-repo" (or (not (empty $d.path)) (hasSuffix ".gguf" .load))) .load -}}
{{- $args = concat $args (list "--alias" .served "--host" "0.0.0.0" "--port" (int64 .port | toString) "--metrics" "--slots") -}}
{{- if $d.gpu }}{{ $args = concat $args (list "-ngl" "99") }}{{ end -}}
{{- $args = concat $args (list
    "-c" (mul $length $slots | toString)
    "-np" (toString $slots)
    "-ub" ($d.max_num_batched_tokens | default 512 | int64 | toString)) -}}
{{- $cache := $d.kv_cache_dtype | default "auto" -}}
{{- if ne $cache "auto" }}{{ $args = concat $args (list "-ctk" $cache "-ctv" $cache "-fa" "on") }}{{ end -}}
{{- if gt ($d.gpus | default 1 | int64) 1 }}{{ $args = concat $args (list "--split-mode" "layer") }}{{ end -}}
{{- dict "args" $args | toJson -}}
{{- end -}}

{{- define "sluicegate.dtype" -}}
{{- get (dict "half" "float16" "fp16" "float16" "bf16" "bfloat16" "float" "float32" "fp32" "float32") . | default . -}}
{{- end -}}
