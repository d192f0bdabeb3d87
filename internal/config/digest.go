package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"slices"
)

// Digest identifies what a configuration says about Kafka: two configurations
// with the same digest can share a producer and its connections, two that
// differ in a credential or certificate never do. What goes into the message
// (forward_*) is not part of it, nor is cluster_name, which Kong makes up anew
// with each declarative configuration it loads.
// It is made with secrets, so it is never shown.
type Digest [sha256.Size]byte

// Digest returns the digest of c. The order of the bootstrap servers, a set,
// does not matter.
func (c *Config) Digest() Digest {
	k := *c
	k.ClusterName = ""
	k.ForwardMethod, k.ForwardURI, k.ForwardHeaders, k.ForwardBody = false, false, false, false
	k.BootstrapServers = slices.Clone(k.BootstrapServers)
	slices.SortFunc(k.BootstrapServers, func(a, b Server) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
	})
	b, err := json.Marshal(k)
	if err != nil {
		panic(err) // plain strings, numbers and booleans
	}
	return sha256.Sum256(b)
}
