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

{{/* Pods: not root, whatever the image says. */}}
{{- define "emostream.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
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
{{- $isOwn := and (not $gcs.redisAddress) (not .Values.redis.external.enabled) -}}
{{- if and (not $gcs.redisAddress) .Values.redis.external.enabled -}}
{{- fail "gcsFaultTolerance needs a server: set gcsFaultTolerance.redisAddress (a single server; Ray knows no Sentinel and no cluster), or gcsFaultTolerance.enabled=false" -}}
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
