package kongsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// dump is what query_cmd prints.
type dump struct {
	Protocol   string
	SocketPath string
	Plugins    []struct {
		Name     string
		Version  any
		Priority any
		Phases   []string
		Schema   json.RawMessage
	}
}

// parseDump reads what query_cmd has printed, and refuses it as Kong 3.9.1 does
// (kong/runloop/plugin_servers/process.lua and kong/db/dao/plugins.lua), with
// Kong's words.
func parseDump(command string, raw []byte) (*dump, error) {
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, fmt.Errorf("failed loading external plugins: failed decoding plugin info: the plugin's dump is not the JSON that Kong reads: %w", err)
	}
	switch value.(type) {
	case map[string]any:
	case []any:
		return nil, errors.New("the plugin's dump is a list, whose plugins Kong takes for some that speak MsgPack:1")
	default:
		return nil, fmt.Errorf("failed loading external plugins: not a plugin info table: %s %s", command, strings.TrimSpace(string(raw)))
	}
	d := &dump{}
	if err := json.Unmarshal(raw, d); err != nil {
		return nil, fmt.Errorf("the plugin's dump is not the JSON that Kong reads: %w", err)
	}
	switch {
	case d.Protocol != "ProtoBuf:1":
		return nil, fmt.Errorf("the plugin's dump names the protocol %q where ProtoBuf:1 is spoken", d.Protocol)
	case len(d.Plugins) != 1:
		return nil, fmt.Errorf("the plugin's dump holds %d plugins where one is expected", len(d.Plugins))
	case d.Plugins[0].Name == "":
		return nil, errors.New("the plugin in the dump has no name")
	}
	p := &d.Plugins[0]
	const refused = "error loading plugin schemas: on plugin '%s': "
	switch {
	case p.Priority == nil:
		return nil, fmt.Errorf(refused+"%[1]s plugin is enabled but not installed; no plugin found", p.Name)
	case !validPriority(p.Priority):
		return nil, fmt.Errorf(refused+"Plugin %q cannot be loaded because its PRIORITY field is not a valid integer number, got: %q.", p.Name, p.Name, luaString(p.Priority))
	case !validVersion(p.Version):
		return nil, fmt.Errorf(refused+"Plugin %q cannot be loaded because its VERSION field does not follow the \"x.y.z\" format, got: %q.", p.Name, p.Name, luaString(p.Version))
	}
	return d, nil
}

func validPriority(v any) bool {
	f, ok := v.(float64)
	return ok && f == math.Trunc(f) && !math.IsInf(f, 0)
}

// validVersion reports whether Kong takes v for a version: the first digits and
// dots in it are up to three numbers with a dot between them. So 1.2.3-rc1, v1.2
// and even the commit f08ffe4 pass (the Lua library version 1.0.1, version.new).
func validVersion(v any) bool {
	s, ok := v.(string)
	if !ok {
		return false
	}
	first := strings.IndexAny(s, "0123456789")
	if first < 0 {
		return false
	}
	s = s[first:]
	if end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); end >= 0 {
		s = s[:end]
	}
	parts := strings.Split(strings.TrimSuffix(s, "."), ".")
	for _, p := range parts {
		if p == "" {
			return false
		}
	}
	return len(parts) <= 3
}

// luaString is what Lua's tostring makes of a value.
func luaString(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case string:
		return v
	case float64:
		return formatNumber(v)
	case bool:
		return strconv.FormatBool(v)
	}
	return "table"
}
