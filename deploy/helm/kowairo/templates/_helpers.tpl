{{- define "kowairo.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "kowairo.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 54 | trimSuffix "-" -}}
{{- else if contains (include "kowairo.name" .) .Release.Name -}}
{{- .Release.Name | trunc 54 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "kowairo.name" .) | trunc 54 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "kowairo.selector" -}}
app.kubernetes.io/name: {{ include "kowairo.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "kowairo.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "kowairo.selector" . }}
{{- end -}}

{{/* The job's name in Prometheus, which the rules know: always kowairo. */}}
{{- define "kowairo.serviceLabels" -}}
{{ include "kowairo.labels" . }}
kowairo/job: kowairo
{{- end -}}

{{- define "kowairo.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "kowairo.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "kowairo.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "kowairo.workloadKind" -}}
{{- ternary "StatefulSet" "Deployment" .Values.spool.persistent -}}
{{- end -}}

{{- define "kowairo.scales" -}}
{{- if or (ne .Values.autoscaling.mode "none") (gt (int .Values.replicaCount) 1) -}}true{{- end -}}
{{- end -}}

{{/* What cannot work is refused while rendering, not found out in production. */}}
{{- define "kowairo.check" -}}
{{- if and (include "kowairo.scales" .) (not .Values.redis.secretName) -}}
{{- fail "more than one pod needs Redis: set redis.secretName (or replicaCount: 1 and autoscaling.mode: none)" -}}
{{- end -}}
{{- if and .Values.spool.persistent (not .Values.redis.secretName) -}}
{{- fail "spool.persistent is of no use without Redis: set redis.secretName" -}}
{{- end -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) -}}
{{- fail "autoscaling.minReplicas is above autoscaling.maxReplicas" -}}
{{- end -}}
{{- end -}}

{{- define "kowairo.secretEnv" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
{{- end -}}

{{- define "kowairo.env" -}}
- name: KOWAIRO_STREAM__DRAIN_GRACE_S
  value: {{ .Values.drain.graceSeconds | quote }}
- name: KOWAIRO_STREAM__DRAIN_TIMEOUT_S
  value: {{ .Values.drain.timeoutSeconds | quote }}
- name: KOWAIRO_STREAM__FAREWELL_TIMEOUT_S
  value: {{ .Values.drain.farewellSeconds | quote }}
{{- if .Values.auth.secretName }}
{{ include "kowairo.secretEnv" (dict "variable" "KOWAIRO_AUTH__API_KEYS" "name" .Values.auth.secretName "key" .Values.auth.secretKey) }}
{{- end }}
{{- if .Values.redis.secretName }}
{{ include "kowairo.secretEnv" (dict "variable" "KOWAIRO_STORE__URL" "name" .Values.redis.secretName "key" .Values.redis.secretKey) }}
- name: KOWAIRO_STORE__SPOOL_PATH
  value: /var/lib/kowairo/spool
- name: KOWAIRO_STORE__SPOOL_MAX_BYTES
  value: {{ printf "%d" (int64 .Values.spool.maxBytes) | quote }}
{{- end }}
{{- range $variable, $value := .Values.env }}
- name: {{ $variable }}
  value: {{ $value | quote }}
{{- end }}
{{- range $variable, $from := .Values.secretEnv }}
{{ include "kowairo.secretEnv" (dict "variable" $variable "name" $from.name "key" $from.key) }}
{{- end }}
{{- end -}}

{{- define "kowairo.pod" -}}
metadata:
  labels:
    {{- include "kowairo.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "kowairo.serviceAccountName" . }}
  automountServiceAccountToken: false
  # Kubernetes would set KOWAIRO_PORT to an address of the Service, which is no port to listen on.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add .Values.drain.graceSeconds .Values.drain.timeoutSeconds .Values.drain.farewellSeconds 15 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  containers:
    - name: kowairo
      image: {{ include "kowairo.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      env:
        {{- include "kowairo.env" . | nindent 8 }}
      ports:
        - name: http
          containerPort: 8000
          protocol: TCP
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      # The port opens when the bundle has passed its checks.
      startupProbe:
        httpGet:
          path: /livez
          port: http
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet:
          path: /livez
          port: http
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet:
          path: /readyz
          port: http
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        - name: spool
          mountPath: /var/lib/kowairo
  volumes:
    - name: tmp
      emptyDir: {}
    {{- if not .Values.spool.persistent }}
    - name: spool
      emptyDir:
        sizeLimit: {{ .Values.spool.size }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- if .Values.topologySpreadConstraints }}
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
    {{- else }}
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "kowairo.selector" . | nindent 10 }}
    {{- end }}
{{- end -}}
