package plugin

import (
	"kafka-upstream/internal/config"
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/record/lua"
)

// newBuilder returns the Builder of a configuration, which must be valid. The error says
// what of it cannot be used: a topic's template, or a message function.
func newBuilder(cfg *config.Config) (*record.Builder, error) {
	o := cfg.Record()
	var transforms []record.Transform
	if len(cfg.Functions) > 0 {
		functions, err := lua.Compile(cfg.Functions, lua.Options{})
		if err != nil {
			return nil, err
		}
		transforms = append(transforms, functions.Transform)
	}
	return record.NewBuilder(o, jsonmsg.NewEncoder(o.Forward, o.ExcludeHeaders), transforms...)
}
