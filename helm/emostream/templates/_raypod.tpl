{{/*
The pod of a group of Ray nodes: dict "root" $ "group" (its values) "name" ray-head|ray-worker "component" head|worker|gpu
"flavour" cpu|gpu "isHead" bool.
KubeRay adds the command, probes, shared memory and, to workers, a container that waits for the head.
*/}}
{{- define "emostream.rayPod" -}}
{{- $root := .root -}}
{{- $group := .group -}}
metadata:
  labels:
    {{- include "emostream.selectorLabels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    {{- with $root.Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $root.Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "emostream.serviceAccountName" $root }}
  # Ray's autoscaler, beside the head, asks Kubernetes for pods; nothing else does.
  automountServiceAccountToken: {{ and .isHead $root.Values.autoscaler.enabled }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- include "emostream.podSecurityContext" $root.Values.podSecurityContext | nindent 4 }}
  {{- with $group.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $group.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- range $field := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" }}
  {{- with get $group $field }}
  {{ $field }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- if not (or .isHead $group.topologySpreadConstraints) }}
  topologySpreadConstraints:
    {{- include "emostream.spread" (dict "root" $root "component" .component) | nindent 4 }}
  {{- end }}
  {{- with $root.Values.dnsPolicy }}
  dnsPolicy: {{ . }}
  {{- end }}
  {{- with $root.Values.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.hostAliases }}
  hostAliases:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ $root.Values.terminationGracePeriodSeconds }}
  {{- if or (not .isHead) $root.Values.initContainers }}
  initContainers:
    {{- with $root.Values.initContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  {{- if not .isHead }}
    - name: models
      image: {{ include "emostream.image" . }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      # What was baked into the image becomes a folder that engines and measured choices can be added to.
      command:
        - /bin/bash
        - -euc
        - |
          cp --recursive --update /opt/emostream/models/. "$EMOSTREAM_MODELS__CACHE_DIR"
          emostream models verify
          {{- if and (eq .flavour "gpu") $root.Values.gpu.warmUp }}
          emostream models compile emotions{{ if or $root.Values.sharedDetector.enabled (include "emostream.gpuWorkers" $root) }} centerface{{ end }}
          {{- end }}
      env:
        {{- include "emostream.modelEnv" $root | nindent 8 }}
      resources:
        {{- toYaml $group.resources | nindent 8 }}
      securityContext:
        {{- include "emostream.securityContext" $root | nindent 8 }}
      volumeMounts:
        - {name: models, mountPath: /var/cache/emostream}
        - {name: tmp, mountPath: /tmp}
        {{- with $root.Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  {{- end }}
  containers:
    - name: {{ .name }}
      image: {{ include "emostream.image" . }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      env:
        {{- include "emostream.redisEnv" $root | nindent 8 }}
        {{- include "emostream.sinksEnv" $root | nindent 8 }}
        {{- include "emostream.modelEnv" $root | nindent 8 }}
        {{- include "emostream.tracingEnv" $root | nindent 8 }}
        {{- with $root.Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $root.Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        {{- if .isHead }}
        - {name: gcs, containerPort: 6379}
        - {name: dashboard, containerPort: 8265}
        - {name: as-metrics, containerPort: 44217} # of the autoscaler
        - {name: dash-metrics, containerPort: 44227} # of the dashboard
        {{- end }}
        - {name: metrics, containerPort: 8080}
        - {name: serve, containerPort: 8000}
      resources:
        {{- toYaml $group.resources | nindent 8 }}
      securityContext:
        {{- include "emostream.securityContext" $root | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- if not .isHead }}
        - {name: models, mountPath: /var/cache/emostream}
        {{- if $root.Values.sources.mediaClaim }}
        - {name: media, mountPath: /media, readOnly: true}
        {{- end }}
        {{- if $root.Values.spool.enabled }}
        - {name: spool, mountPath: /var/spool/emostream}
        {{- end }}
        {{- end }}
        {{- with $root.Values.redis.external }}
        {{- if and .enabled .caSecret }}
        - {name: redis-ca, mountPath: /etc/emostream/redis-ca, readOnly: true}
        {{- end }}
        {{- end }}
        {{- if and $root.Values.auth.enabled $root.Values.auth.tokensSecret }}
        - {name: tokens, mountPath: /etc/emostream/tokens, readOnly: true}
        {{- end }}
        {{- with $root.Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with $root.Values.sidecars }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: tmp
      emptyDir:
        sizeLimit: {{ $root.Values.tmp.sizeLimit }}
    {{- if not .isHead }}
    - name: models
      {{- if and (eq .flavour "gpu") $root.Values.gpu.engineCacheHostPath }}
      hostPath:
        path: {{ $root.Values.gpu.engineCacheHostPath }}
        type: Directory # one that Kubernetes made would belong to root, and could not be written
      {{- else if and (eq .flavour "gpu") $root.Values.gpu.engineCacheClaim }}
      persistentVolumeClaim:
        claimName: {{ $root.Values.gpu.engineCacheClaim }}
      {{- else }}
      emptyDir:
        sizeLimit: {{ $root.Values.modelCache.sizeLimit }}
      {{- end }}
    {{- with $root.Values.sources.mediaClaim }}
    - name: media
      persistentVolumeClaim:
        claimName: {{ . }}
        readOnly: true
    {{- end }}
    {{- with $root.Values.spool }}
    {{- if .enabled }}
    - name: spool
      {{- if .existingClaim }}
      persistentVolumeClaim:
        claimName: {{ .existingClaim }}
      {{- else }}
      emptyDir:
        sizeLimit: {{ .sizeLimit }}
      {{- end }}
    {{- end }}
    {{- end }}
    {{- end }}
    {{- with $root.Values.redis.external }}
    {{- if and .enabled .caSecret }}
    - name: redis-ca
      secret:
        secretName: {{ .caSecret }}
        items:
          - {key: ca.crt, path: ca.crt}
    {{- end }}
    {{- end }}
    {{- if and $root.Values.auth.enabled $root.Values.auth.tokensSecret }}
    - name: tokens
      secret:
        secretName: {{ $root.Values.auth.tokensSecret }}
        items:
          - {key: tokens.json, path: tokens.json}
    {{- end }}
    {{- with $root.Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* What the receiver of traces asks for; nothing where no frame is traced. */}}
{{- define "emostream.tracingEnv" -}}
{{- with .Values.tracing }}
{{- if and (gt (float64 .ratio) 0.0) .headersSecret -}}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .headersSecret }}
      key: {{ .headersKey }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "emostream.modelEnv" -}}
- {name: EMOSTREAM_MODELS__CACHE_DIR, value: /var/cache/emostream}
- {name: EMOSTREAM_MODELS__OFFLINE, value: "true"}
- {name: HOME, value: /tmp}
- {name: USER, value: emostream} # a user id that the cluster chose has no name in the image
{{ include "emostream.noTelemetryEnv" . }}
{{- end -}}

{{/* Nothing reports home, whatever image is used: emostream/__init__.py has the list, a test compares. */}}
{{- define "emostream.noTelemetryEnv" -}}
- {name: ORT_DISABLE_TELEMETRY, value: "1"}
- {name: RAY_USAGE_STATS_ENABLED, value: "0"}
- {name: RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH, value: emostream.deployments.http_proxy.harden_proxy}
{{- end -}}
