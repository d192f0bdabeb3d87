// Package schema holds Kong's schema of the plugin, the one place that states
// each configuration field's name, type, default, limits and description.
package schema

import _ "embed"

//go:embed kafka-upstream.json
var raw []byte

// JSON returns the schema in Kong's own schema language, as the plugin's dump
// carries it. The caller must not change it.
func JSON() []byte { return raw }
