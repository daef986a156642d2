{{- define "dermafed.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}-{{ .Values.role }}
{{- end }}

{{- define "dermafed.selector" -}}
app.kubernetes.io/name: dermafed-{{ .Values.role }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "dermafed.metadata" -}}
name: {{ include "dermafed.name" . }}
labels:
  {{- include "dermafed.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* What every container of the pod has. */ -}}
{{- define "dermafed.container" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
  - {name: state, mountPath: /var/lib/dermafed}
  - {name: tmp, mountPath: /tmp}
  {{- if eq .Values.role "site" }}
  - {name: cohort, mountPath: /cohort, readOnly: true}
  {{- if .Values.site.invitation }}
  - {name: invitation, mountPath: /invitation, readOnly: true}
  {{- end }}
  {{- end }}
{{- end }}
