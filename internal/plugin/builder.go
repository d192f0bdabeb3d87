package plugin

import (
	"kafka-upstream/internal/config"
	"kafka-upstream/internal/record"
	"kafka-upstream/internal/record/jsonmsg"
	"kafka-upstream/internal/record/lua"
	"kafka-upstream/internal/record/registry"
	"kafka-upstream/internal/request"
)

// newBuilder returns the Builder of a configuration, which must be valid, and what it needs of
// a request. The schemas are nil for none. The error says what of the configuration cannot be
// used, such as a message function.
func newBuilder(cfg *config.Config, schemas *registry.Schemas) (*record.Builder, request.Fields, error) {
	o := cfg.Record()
	if schemas != nil && schemas.Value != nil {
		o.ValueSerializer = schemas.Value
	}
	if schemas != nil && schemas.Key != nil {
		o.KeySerializer = schemas.Key
	}
	encoder := jsonmsg.NewEncoder(o.Forward, o.ExcludeHeaders)
	if len(cfg.Functions) == 0 {
		b, err := record.NewBuilder(o, encoder)
		if err != nil {
			return nil, request.Fields{}, err
		}
		return b, b.Needs(), nil
	}
	functions, err := lua.Compile(cfg.Functions, lua.Options{MaxValue: o.MaxValue, PluginID: cfg.PluginID})
	if err != nil {
		return nil, request.Fields{}, err
	}
	b, err := record.NewBuilder(o, encoder, functions.Transform)
	if err != nil {
		return nil, request.Fields{}, err
	}
	return b, b.Needs().Merge(functions.Needs()), nil
}
