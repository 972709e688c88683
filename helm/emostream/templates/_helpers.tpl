{{/* Name of the chart in labels. */}}
{{- define "emostream.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/*
Name of all objects. KubeRay makes names of pods and services from it and refuses long ones and such that begin with a digit.
*/}}
{{- define "emostream.fullname" -}}
{{- $name := include "emostream.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full = default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) -}}
{{- fail (printf "the name %q cannot be used: expected a lower-case letter, then letters, digits and dashes; choose another release name or set fullnameOverride" $full) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{- define "emostream.redisName" -}}
{{- printf "%s-redis" (include "emostream.fullname" .) -}}
{{- end -}}

{{- define "emostream.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What never changes of an object; selectors use it. */}}
{{- define "emostream.selectorLabels" -}}
app.kubernetes.io/name: {{ include "emostream.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "emostream.labels" -}}
{{ include "emostream.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ include "emostream.chart" . }}
{{- end -}}

{{- define "emostream.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "emostream.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Image of a flavour: dict "root" $ "flavour" "cpu" or "gpu". */}}
{{- define "emostream.image" -}}
{{- $image := .root.Values.image -}}
{{- $digest := ternary $image.gpuDigest $image.cpuDigest (eq .flavour "gpu") -}}
{{- if $digest -}}
{{- printf "%s@%s" $image.repository $digest -}}
{{- else -}}
{{- printf "%s:%s-%s" $image.repository (default .root.Chart.AppVersion $image.tag) .flavour -}}
{{- end -}}
{{- end -}}

{{/*
Pods: not root, whatever the image and the values say. Dict "values" (user and groups) "default" (the id of the image). A user or
group of null is left to the cluster: OpenShift gives each namespace its own ids and refuses others.
*/}}
{{- define "emostream.podSecurityContext" -}}
{{- toYaml (merge (dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault")) .) -}}
{{- end -}}

{{/* Where pods that were not told otherwise go: dict "root" $ "component" its name. One node may fail. */}}
{{- define "emostream.spread" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "emostream.selectorLabels" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* GPUs that a list of resources names, whatever the device plugin calls them: whole cards, MIG slices or shares of a time-slice. */}}
{{- define "emostream.gpuCount" -}}
{{- $count := 0 -}}
{{- range $name, $number := default dict (get . "limits") -}}
{{- if hasPrefix "nvidia.com/" $name -}}
{{- $count = add $count (int $number) -}}
{{- end -}}
{{- end -}}
{{- $count -}}
{{- end -}}

{{/* The GPUs alone of a list of resources: requests and limits. */}}
{{- define "emostream.gpusOnly" -}}
{{- $resources := . -}}
{{- $gpus := dict -}}
{{- range $kind := list "requests" "limits" -}}
{{- $named := dict -}}
{{- range $name, $number := default dict (get $resources $kind) -}}
{{- if hasPrefix "nvidia.com/" $name -}}
{{- $_ := set $named $name $number -}}
{{- end -}}
{{- end -}}
{{- $_ := set $gpus $kind $named -}}
{{- end -}}
{{- toYaml $gpus -}}
{{- end -}}

{{/* Not empty where stream workers have GPUs of their own. */}}
{{- define "emostream.gpuWorkers" -}}
{{- if and .Values.gpu.enabled (eq .Values.gpu.use "workers") }}true{{ end -}}
{{- end -}}

{{/* Not empty where pods with GPUs classify for all workers. */}}
{{- define "emostream.gpuClassifier" -}}
{{- if and .Values.gpu.enabled (eq .Values.gpu.use "classifier") }}true{{ end -}}
{{- end -}}

{{/* The values of the pods of stream workers: those of `workers`, and where they have GPUs what `gpu` says of these. */}}
{{- define "emostream.workerGroup" -}}
{{- $group := deepCopy .Values.workers -}}
{{- if include "emostream.gpuWorkers" . -}}
{{- $gpu := .Values.gpu -}}
{{- $_ := set $group "resources" (mergeOverwrite (deepCopy $group.resources) (include "emostream.gpusOnly" $gpu.resources | fromYaml)) -}}
{{- $_ := set $group "nodeSelector" (mergeOverwrite (deepCopy $gpu.nodeSelector) $group.nodeSelector) -}}
{{- $_ := set $group "tolerations" (concat $group.tolerations $gpu.tolerations) -}}
{{- range $field := list "affinity" "topologySpreadConstraints" "priorityClassName" "runtimeClassName" -}}
{{- $_ := set $group $field (default (get $gpu $field) (get $group $field)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $group -}}
{{- end -}}

{{/* CPUs that Ray gives to the stream workers of a pod. */}}
{{- define "emostream.workerCpus" -}}
{{- with .Values.workers.resources -}}
{{- include "emostream.wholeCpus" (dig "limits" "cpu" (dig "requests" "cpu" 0 .) .) -}}
{{- end -}}
{{- end -}}

{{/* Share of a GPU for each stream worker; by default those of a pod have its GPUs together. */}}
{{- define "emostream.workerShare" -}}
{{- if not (include "emostream.gpuWorkers" .) -}}
0
{{- else if .Values.streamWorkers.gpus -}}
{{- .Values.streamWorkers.gpus -}}
{{- else -}}
{{- $workers := max 1 (floor (divf (include "emostream.workerCpus" . | int) .Values.streamWorkers.cpus) | int) -}}
{{- $gpus := include "emostream.gpuCount" .Values.gpu.resources | int -}}
{{- $together := add (div (sub $workers 1) (max 1 $gpus)) 1 -}}{{/* workers of each GPU, rounded up */}}
{{- round (divf (floor (divf 10000 $together)) 10000) 4 -}}
{{- end -}}
{{- end -}}

{{/* How often a share of a GPU fits on the rest: dict "free" share that is left "share" of each. Floats: 0.6 / 0.2 is not quite 3. */}}
{{- define "emostream.fitting" -}}
{{- floor (addf (divf .free .share) 0.000001) | int -}}
{{- end -}}

{{/* Bytes of a quantity: "2Gi", "1500mb" (Redis' units are powers of two), or a number. */}}
{{- define "emostream.bytes" -}}
{{- if not (kindIs "string" .) -}}
{{- int64 . -}}
{{- else -}}
{{- $text := . -}}
{{- $units := dict "" 1 "m" 0.001 "k" 1000 "Ki" 1024 "M" 1000000 "Mi" 1048576 "mb" 1048576 "G" 1000000000 "Gi" 1073741824 "gb" 1073741824 "T" 1000000000000 "Ti" 1099511627776 -}}
{{- $number := regexFind "^[0-9]+(\\.[0-9]+)?" $text -}}
{{- mulf (float64 $number) (get $units (trimPrefix $number $text)) | int64 -}}
{{- end -}}
{{- end -}}

{{- define "emostream.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Secret with the password of the chart's own Redis. */}}
{{- define "emostream.redisSecret" -}}
{{- default (include "emostream.redisName" .) .Values.redis.existingSecret -}}
{{- end -}}

{{/* Address of Redis in the environment; a password is put in by Kubernetes. */}}
{{- define "emostream.redisEnv" -}}
{{- $external := .Values.redis.external -}}
{{- if not $external.enabled -}}
- name: EVENTS_REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "emostream.redisSecret" . }}
      key: password
- name: EMOSTREAM_PUBLISH__REDIS_URL
  value: redis://:$(EVENTS_REDIS_PASSWORD)@{{ include "emostream.redisName" . }}:6379/0
{{- else if $external.existingSecret -}}
- name: EMOSTREAM_PUBLISH__REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ $external.existingSecret }}
      key: {{ $external.secretKey }}
{{- else if $external.url -}}
- name: EMOSTREAM_PUBLISH__REDIS_URL
  value: {{ $external.url | quote }}
{{- else -}}
{{- fail "redis.external.enabled is set: give redis.external.url, or redis.external.existingSecret with the URL in it" -}}
{{- end -}}
{{- end -}}

{{/* Sinks beside Redis in the environment; nothing where there are none. */}}
{{- define "emostream.sinksEnv" -}}
{{- with .Values.sinks -}}
{{- if and .urls .existingSecret -}}
{{- fail "give sinks.urls or sinks.existingSecret, not both" -}}
{{- end -}}
{{- if .existingSecret -}}
- name: EMOSTREAM_PUBLISH__SINKS
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .secretKey }}
{{- else if .urls -}}
- name: EMOSTREAM_PUBLISH__SINKS
  value: {{ toRawJson .urls | quote }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* CPUs as Ray counts them: whole ones, from "4" or "3500m". */}}
{{- define "emostream.wholeCpus" -}}
{{- $text := toString . -}}
{{- if hasSuffix "m" $text -}}
{{- ceil (divf (trimSuffix "m" $text | float64) 1000.0) | int -}}
{{- else -}}
{{- ceil (float64 $text) | int -}}
{{- end -}}
{{- end -}}

{{/* Where Ray's head keeps its state. */}}
{{- define "emostream.gcsOptions" -}}
{{- $gcs := .Values.gcsFaultTolerance -}}
{{- if and $gcs.ownServer.enabled $gcs.redisAddress -}}
{{- fail "give gcsFaultTolerance.redisAddress or gcsFaultTolerance.ownServer.enabled, not both" -}}
{{- end -}}
{{- if include "emostream.hasGcsServer" . -}}
{{- $name := printf "%s-gcs" (include "emostream.fullname" .) -}}
redisAddress: "{{ $name }}:6379"
redisPassword:
  valueFrom:
    secretKeyRef:
      name: {{ default $name $gcs.passwordSecret }}
      key: {{ $gcs.passwordKey }}
{{- else -}}
{{- $isOwn := and (not $gcs.redisAddress) (not .Values.redis.external.enabled) -}}
{{- if and (not $gcs.redisAddress) .Values.redis.external.enabled -}}
{{- fail "gcsFaultTolerance needs a server: set gcsFaultTolerance.redisAddress (a single server; Ray knows no Sentinel and no cluster), gcsFaultTolerance.ownServer.enabled, or gcsFaultTolerance.enabled=false" -}}
{{- end -}}
redisAddress: {{ ternary (printf "%s:6379" (include "emostream.redisName" .)) $gcs.redisAddress $isOwn | quote }}
{{- if or $isOwn $gcs.passwordSecret }}
redisPassword:
  valueFrom:
    secretKeyRef:
      name: {{ ternary (include "emostream.redisSecret" .) $gcs.passwordSecret $isOwn }}
      key: {{ ternary "password" $gcs.passwordKey $isOwn }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* "yes" where the chart runs a server for Ray's state alone. */}}
{{- define "emostream.hasGcsServer" -}}
{{- with .Values.gcsFaultTolerance }}{{ if and .enabled .ownServer.enabled }}yes{{ end }}{{ end -}}
{{- end -}}

{{/* "yes" where metrics of the chart's own Redis are exported. */}}
{{- define "emostream.hasExporter" -}}
{{- with .Values.redis }}{{ if and .exporter.enabled (not .external.enabled) }}yes{{ end }}{{ end -}}
{{- end -}}

{{/* The way to the cluster's name servers, for a network policy; a pod that finds no name server finds nothing. */}}
{{- define "emostream.dnsEgress" -}}
- to:
    {{- toYaml .Values.networkPolicy.dnsTo | nindent 4 }}
  ports:
    {{- range .Values.networkPolicy.dnsPorts }}
    - {protocol: UDP, port: {{ . }}}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end -}}

{{/* Address and token of the service, for pods that call it. */}}
{{- define "emostream.clientEnv" -}}
{{- $name := include "emostream.fullname" . -}}
{{- $job := .Values.streamsJob -}}
- {name: EMOSTREAM_SERVICE_URL, value: "http://{{ $name }}-serve-svc:8000"}
{{- if and .Values.auth.enabled (or .Values.auth.generate $job.tokenSecret) }}
- name: EMOSTREAM_SERVICE_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ default (printf "%s-api" $name) $job.tokenSecret }}
      key: {{ ternary $job.tokenKey "token" (not (empty $job.tokenSecret)) }}
{{- end }}
{{- end -}}

{{/* Milli-CPUs of "4", 0.5 or "3500m". */}}
{{- define "emostream.milliCpus" -}}
{{- $text := toString . -}}
{{- if hasSuffix "m" $text -}}
{{- trimSuffix "m" $text | float64 | int64 -}}
{{- else -}}
{{- mulf (float64 $text) 1000.0 | int64 -}}
{{- end -}}
{{- end -}}

{{/* Kubernetes refuses requests above limits, and GPUs that are not both; it would say so of pods that nobody looks at. */}}
{{- define "emostream.checkResources" -}}
{{- $path := .path -}}
{{- $requests := default dict .resources.requests -}}
{{- $limits := default dict .resources.limits -}}
{{- range $name, $limit := $limits -}}
{{- $request := get $requests $name -}}
{{- if and $request (hasPrefix "nvidia.com/" $name) (ne (int $request) (int $limit)) -}}
{{- fail (printf "%s.resources: requests %v and limits %v of %s differ; GPUs can only be requested as limited" $path $request $limit $name) -}}
{{- else if and $request (not (contains "/" $name)) -}}
{{- $unit := ternary "emostream.milliCpus" "emostream.bytes" (eq $name "cpu") -}}
{{- if gt (include "emostream.quantity" (dict "unit" $unit "value" $request) | int64) (include "emostream.quantity" (dict "unit" $unit "value" $limit) | int64) -}}
{{- fail (printf "%s.resources: the request of %v %s is above its limit of %v: raise the limit or lower the request" $path $request $name $limit) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $request := $requests -}}
{{- if and (hasPrefix "nvidia.com/" $name) (not (get $limits $name)) -}}
{{- fail (printf "%s.resources: %s is requested without a limit; GPUs need both" $path $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "emostream.quantity" -}}
{{- if eq .unit "emostream.milliCpus" -}}{{ include "emostream.milliCpus" .value }}{{- else -}}{{ include "emostream.bytes" .value }}{{- end -}}
{{- end -}}
