{{/*
The operator's token that the chart made: read back from the cluster, else new. It is rendered once per run and remembered in a
scratch value, so that the secret and the hash in the settings agree.
*/}}
{{- define "emostream.generatedToken" -}}
{{- if not (hasKey .Values.auth "_token") -}}
{{- $found := lookup "v1" "Secret" .Release.Namespace (printf "%s-api" (include "emostream.fullname" .)) -}}
{{- $token := ternary (dig "data" "token" "" (default dict $found) | b64dec) (randAlphaNum 40) (not (empty (dig "data" "token" "" (default dict $found)))) -}}
{{- $_ := set .Values.auth "_token" $token -}}
{{- end -}}
{{- .Values.auth._token -}}
{{- end -}}

{{/* Tokens as `service.tokens` of the settings, as YAML: hashes only. */}}
{{- define "emostream.tokens" -}}
{{- $tokens := list -}}
{{- if .Values.auth.enabled -}}
{{- if .Values.auth.generate -}}
{{- $hash := include "emostream.generatedToken" . | sha256sum -}}
{{- $tokens = append $tokens (dict "name" "chart" "sha256" $hash "scopes" (list "write")) -}}
{{- end -}}
{{- $tokens = concat $tokens .Values.auth.tokens -}}
{{- if not (or $tokens .Values.auth.tokensSecret) -}}
{{- fail "auth.enabled is set, but nobody has a token: set auth.generate, or give auth.tokens or auth.tokensSecret" -}}
{{- end -}}
{{- end -}}
{{- toYaml $tokens -}}
{{- end -}}

{{/* The settings of emostream: what the chart decides, and over it the operator's `settings`. As YAML. */}}
{{- define "emostream.settings" -}}
{{- $own := .Values.settings -}}
{{- $service := default dict (get $own "service") -}}
{{- range $name, $value := dict "max_streams_per_worker" "streamWorkers.maxStreams" "allowed_networks" "sources.networks" "allow_playlists" "sources.allowPlaylists" "media_root" "sources.mediaClaim" "tokens" "auth.tokens" -}}
{{- if hasKey $service $name -}}
{{- fail (printf "settings.service.%s is decided by the chart: set %s instead, which other objects follow as well" $name $value) -}}
{{- end -}}
{{- end -}}
{{- if hasKey (default dict (get $own "publish")) "redis_url" -}}
{{- fail "settings.publish.redis_url would put a password into the RayService: set redis.external instead" -}}
{{- end -}}
{{- if hasKey (default dict (get $own "publish")) "sinks" -}}
{{- fail "settings.publish.sinks would put passwords into the RayService: set sinks.existingSecret, or sinks.urls for those without a password" -}}
{{- end -}}
{{- $decided := dict
      "name" (printf "%s/%s" .Release.Namespace (include "emostream.fullname" .))
      "max_streams_per_worker" (int .Values.streamWorkers.maxStreams)
      "allowed_networks" .Values.sources.networks
      "allow_playlists" .Values.sources.allowPlaylists
      "tokens" (include "emostream.tokens" . | fromYamlArray) -}}
{{- if .Values.sources.mediaClaim -}}
{{- $_ := set $decided "media_root" "/media" -}}
{{- end -}}
{{- if and .Values.auth.enabled .Values.auth.tokensSecret -}}
{{- if hasKey $service "tokens_file" -}}
{{- fail "settings.service.tokens_file is decided by the chart where auth.tokensSecret is set: remove one of them" -}}
{{- end -}}
{{- $_ := set $decided "tokens_file" "/etc/emostream/tokens/tokens.json" -}}
{{- end -}}
{{- $all := dict "service" $decided "log_copy_to" "/proc/1/fd/2" -}}{{/* what `kubectl logs` shows; Ray keeps the rest in files */}}
{{- if .Values.spool.enabled -}}
{{- if hasKey (default dict (get $own "publish")) "spool_dir" -}}
{{- fail "settings.publish.spool_dir is decided by the chart where spool.enabled is set: remove one of them" -}}
{{- end -}}
{{- $_ := set $all "publish" (dict "spool_dir" "/var/spool/emostream") -}}
{{- end -}}
{{- $hasGpu := .Values.gpu.enabled -}}
{{- $engine := dig "classify" "engine" "auto" $own -}}
{{- if and (not $hasGpu) (has $engine (list "tensorrt" "tensorrt_rtx" "onnxruntime_tensorrt" "onnxruntime_cuda")) -}}
{{- fail (printf "settings.classify.engine is %s, but no pod has a GPU: set gpu.enabled" $engine) -}}
{{- end -}}
{{- if .Values.gpu.required -}}
{{- if not $hasGpu -}}
{{- fail "gpu.required is set, but no pod has a GPU: set gpu.enabled" -}}
{{- end -}}
{{- if eq $engine "onnxruntime" -}}
{{- fail "gpu.required is set, but settings.classify.engine is onnxruntime, which runs on the CPU: remove one of them" -}}
{{- end -}}
{{- $_ := set $all "classify" (dict "gpu_required" true) -}}
{{- end -}}
{{- $detector := dig "detect" "engine" "onnxruntime" $own -}}
{{- if and (not (has $detector (list "auto" "onnxruntime"))) (not (or .Values.sharedDetector.enabled (include "emostream.gpuWorkers" .))) -}}
{{- fail (printf "settings.detect.engine is %s, but the detector runs on pods without a GPU: set gpu.enabled with gpu.use=workers, or sharedDetector.enabled" $detector) -}}
{{- end -}}
{{- if .Values.sharedDetector.enabled -}}
{{- $_ := set $all "detect" (dict "engine" "tensorrt") -}}
{{- else if include "emostream.gpuWorkers" . -}}
{{- $_ := set $all "detect" (dict "engine" "auto") -}}
{{- $_ := set $all "decode" (dict "hwaccel" "auto") -}}
{{- end -}}
{{- if and .Values.sharedDetector.enabled (ne "centerface" (dig "detect" "kind" "centerface" $own)) -}}
{{- fail (printf "sharedDetector.enabled is set, but settings.detect.kind is %v: only centerface can be shared" (dig "detect" "kind" "" $own)) -}}
{{- end -}}
{{- if hasKey $own "tracing" -}}
{{- fail "settings.tracing is decided by the chart: set tracing.ratio and tracing.endpoint instead, which the network policy follows as well" -}}
{{- end -}}
{{- if gt (float64 .Values.tracing.ratio) 0.0 -}}
{{- $_ := set $all "tracing" (dict "ratio" .Values.tracing.ratio "endpoint" .Values.tracing.endpoint) -}}
{{- end -}}
{{- toYaml (mergeOverwrite $all (deepCopy $own)) -}}
{{- end -}}

{{/* Time for a stream worker to end: longer than service.drain_seconds, in which it hands over its streams. */}}
{{- define "emostream.shutdownSeconds" -}}
{{- max 20 (add 12 (ceil (dig "service" "drain_seconds" 8 .Values.settings) | int)) -}}
{{- end -}}

{{/* Replicas of the classifier on each GPU: as many as fit beside the detector. */}}
{{- define "emostream.classifiersPerGpu" -}}
{{- $free := ternary (subf 1.0 .Values.sharedDetector.share) 1.0 .Values.sharedDetector.enabled -}}
{{- $number := include "emostream.fitting" (dict "free" $free "share" .Values.gpu.share) | int -}}
{{- if lt $number 1 -}}
{{- fail (printf "gpu.share (%v) and sharedDetector.share (%v) are more than one GPU: lower one of them" .Values.gpu.share .Values.sharedDetector.share) -}}
{{- end -}}
{{- $number -}}
{{- end -}}

{{/* The configuration of Ray Serve; a change of it is applied in place. */}}
{{- define "emostream.serveConfig" -}}
{{- $workers := .Values.streamWorkers -}}
proxy_location: EveryNode
http_options:
  host: 0.0.0.0
  port: 8000
applications:
  - name: emostream
    route_prefix: /
    import_path: emostream.deployments.app:build_app
    {{- with .Values.rollout }}
    runtime_env:
      env_vars:
        ROLLOUT: {{ . | quote }}
    {{- end }}
    args:
      shared_classifier: {{ eq "true" (include "emostream.gpuClassifier" .) }}
      {{- if .Values.sharedDetector.enabled }}
      shared_detector: true
      {{- end }}
      settings:
        {{- include "emostream.settings" . | nindent 8 }}
    deployments:
      - name: Ingress
        num_replicas: {{ .Values.api.replicas }}
        ray_actor_options:
          num_cpus: 0
          resources: {cpu_node: 0.001} # never on the head, nor beside a GPU
      - name: StreamWorkers
        graceful_shutdown_timeout_s: {{ include "emostream.shutdownSeconds" . }} # streams are handed over first
        ray_actor_options:
          num_cpus: {{ $workers.cpus }}
          {{- if include "emostream.gpuWorkers" . }}
          num_gpus: {{ include "emostream.workerShare" . }}
          {{- end }}
          resources: {cpu_node: 0.001}
        {{- if eq (int $workers.min) (int $workers.max) }}
        num_replicas: {{ $workers.min }}
        {{- else }}
        num_replicas: auto
        autoscaling_config:
          min_replicas: {{ $workers.min }}
          max_replicas: {{ $workers.max }}
          upscale_delay_s: 10
          downscale_delay_s: {{ $workers.downscaleDelaySeconds }}
          policy:
            policy_function: emostream.deployments.autoscaling:StreamWorkerPolicy
            policy_kwargs:
              max_streams_per_worker: {{ $workers.maxStreams }}
        {{- end }}
      {{- if include "emostream.gpuClassifier" . }}
      {{- $gpus := mul .Values.gpu.replicas (include "emostream.gpuCount" .Values.gpu.resources | int) }}
      - name: EmotionClassification
        num_replicas: {{ mul $gpus (include "emostream.classifiersPerGpu" . | int) }}
        ray_actor_options:
          num_cpus: 1
          num_gpus: {{ .Values.gpu.share }}
      {{- if .Values.sharedDetector.enabled }}
      - name: FaceDetection
        num_replicas: {{ $gpus }}
        ray_actor_options:
          num_cpus: 1
          num_gpus: {{ .Values.sharedDetector.share }}
      {{- end }}
      {{- end }}
{{- end -}}
