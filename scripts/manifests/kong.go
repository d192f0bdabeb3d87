// Package manifests checks examples/kubernetes: its tests read each file strictly, as types of
// Kubernetes' API.
package manifests

import (
	"encoding/json"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// KongPlugin is the resource of Kong's ingress controller, by its public reference
// (configuration.konghq.com/v1). Its secrets are in its own namespace.
type KongPlugin struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	pluginFields    `json:",inline"`
}

// KongClusterPlugin is the same for all namespaces. Its secrets name theirs.
type KongClusterPlugin KongPlugin

type pluginFields struct {
	Plugin        string                     `json:"plugin"`
	Config        map[string]json.RawMessage `json:"config,omitempty"`
	ConfigFrom    *secretSource              `json:"configFrom,omitempty"`
	ConfigPatches []configPatch              `json:"configPatches,omitempty"`
	ConsumerRef   string                     `json:"consumerRef,omitempty"`
	Disabled      bool                       `json:"disabled,omitempty"`
	InstanceName  string                     `json:"instance_name,omitempty"`
	Protocols     []string                   `json:"protocols,omitempty"`
}

// configPatch sets the field at Path, a JSON pointer into the configuration, to JSON of a secret.
type configPatch struct {
	Path      string       `json:"path"`
	ValueFrom secretSource `json:"valueFrom"`
}

type secretSource struct {
	SecretKeyRef struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace,omitempty"`
		Key       string `json:"key"`
	} `json:"secretKeyRef"`
}

// chartValues are the values of Kong's Helm chart (3.4.1) that the examples set.
type chartValues struct {
	FullnameOverride string `json:"fullnameOverride"`
	Image            struct {
		Repository string `json:"repository"`
		Tag        string `json:"tag"`
	} `json:"image"`
	Env        map[string]string `json:"env"`
	Deployment struct {
		UserDefinedVolumes      []core.Volume      `json:"userDefinedVolumes"`
		UserDefinedVolumeMounts []core.VolumeMount `json:"userDefinedVolumeMounts"`
		InitContainers          []core.Container   `json:"initContainers"`
	} `json:"deployment"`
	Resources           core.ResourceRequirements `json:"resources"`
	ReplicaCount        int                       `json:"replicaCount"`
	PodDisruptionBudget struct {
		Enabled      bool `json:"enabled"`
		MinAvailable int  `json:"minAvailable"`
	} `json:"podDisruptionBudget"`
	PodAnnotations                map[string]string `json:"podAnnotations"`
	Lifecycle                     core.Lifecycle    `json:"lifecycle"`
	TerminationGracePeriodSeconds int64             `json:"terminationGracePeriodSeconds"`
}
