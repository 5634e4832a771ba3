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
{{- if $pool.app -}}
{{- $_ := set $pool "runs" "worker" -}}
{{- end -}}
{{- if and (not $pool.app) (ne $pool.home "shared") -}}
{{- fail (printf "pools.%s: what works on documents needs `home: shared`; only pools with an `app` run without it" .name) -}}
{{- end -}}
{{- if and $pool.queues (not $pool.app) -}}
{{- fail (printf "pools.%s: queues are those of an `app`, and there is none" .name) -}}
{{- end -}}
{{- $config := .root.Values.config -}}
{{- if and $pool.autoscaling.enabled (eq $pool.runs "server") -}}
{{- fail (printf "pools.%s: a server takes nothing from queues, so they cannot scale it" .name) -}}
{{- end -}}
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

{{- /* MiB without tasks: 64 for a master, 448 for a server; for each worker and each of its slots 256. */ -}}
{{- define "gristmill.idle" -}}
{{- $workers := mul (int64 .workers) (add 256 (mul (int64 .slots) 256)) -}}
{{- get (dict "up" (add 512 $workers) "server" 512 "worker" (add 64 $workers)) .runs -}}
{{- end -}}

{{- /* And for each slot what a task may use. */ -}}
{{- define "gristmill.memory" -}}
{{- if .pool.memory -}}
{{- .pool.memory -}}
{{- else -}}
{{- $slots := ternary 0 (mul (int64 .pool.workers) (int64 .pool.slots)) (eq .pool.runs "server") -}}
{{- printf "%dMi" (add (include "gristmill.idle" .pool) (mul $slots (div (int64 .root.Values.config.worker.memory_limit) 1048576))) -}}
{{- end -}}
{{- end -}}
