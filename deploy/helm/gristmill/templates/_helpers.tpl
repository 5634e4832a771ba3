{{- define "gristmill.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "gristmill.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "gristmill.labels" -}}
{{ include "gristmill.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "gristmill.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "gristmill.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* A pool with what it does not say; what cannot work is refused. Takes root, name, pool; returns YAML. */ -}}
{{- define "gristmill.pool" -}}
{{- $pool := mergeOverwrite (deepCopy .root.Values.poolDefaults) (deepCopy (default dict .pool)) -}}
{{- if and (not $pool.app) (ne $pool.home "shared") -}}
{{- fail (printf "pools.%s: workers of the document pipeline need `home: shared`; only pools with an `app` run without it" .name) -}}
{{- end -}}
{{- if and $pool.queues (not $pool.app) -}}
{{- fail (printf "pools.%s: queues are those of an `app`, and there is none" .name) -}}
{{- end -}}
{{- $config := .root.Values.config -}}
{{- if $pool.autoscaling.enabled -}}
{{- $broker := dig "engine" "broker" "" $config -}}
{{- if and (eq $pool.autoscaling.trigger "postgresql") (ne $broker "database") -}}
{{- fail (printf "pools.%s: to be scaled by postgresql, `config.engine.broker` has to be `database`" .name) -}}
{{- end -}}
{{- if and (eq $pool.autoscaling.trigger "redis") (or (eq $broker "database") (not (dig "redis" "host" "" $config))) -}}
{{- fail (printf "pools.%s: to be scaled by redis, `config.redis` has to be the broker" .name) -}}
{{- end -}}
{{- end -}}
{{- toYaml $pool -}}
{{- end -}}

{{- /* MiB: 64 for the master; for each worker 256, and for each of its slots what a task may use and 256. */ -}}
{{- define "gristmill.memory" -}}
{{- if .pool.memory -}}
{{- .pool.memory -}}
{{- else -}}
{{- $slot := add 256 (div (int64 .root.Values.config.worker.memory_limit) 1048576) -}}
{{- printf "%dMi" (add 64 (mul (int64 .pool.workers) (add 256 (mul (int64 .pool.slots) $slot)))) -}}
{{- end -}}
{{- end -}}
