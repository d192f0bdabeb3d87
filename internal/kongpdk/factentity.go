package kongpdk

import "google.golang.org/protobuf/encoding/protowire"

// entity is a message that stands for one of Kong's entities: its fields, that of number 1
// first.
type entity []entityField

type entityField struct {
	name string
	kind entityKind
}

type entityKind uint8

const (
	text    entityKind = iota
	number             // an integer
	boolean            //
	texts              // a list of texts
	key                // of another entity: a message with its id
)

// The entities of Kong's pluginsocket.proto.
var (
	consumer = entity{
		{"id", text}, {"created_at", number}, {"username", text}, {"custom_id", text}, {"tags", texts},
	}
	credential = entity{{"id", text}, {"consumer_id", text}}
	route      = entity{
		{"id", text}, {"created_at", number}, {"updated_at", number}, {"name", text}, {"protocols", texts}, {"methods", texts},
		{"hosts", texts}, {"paths", texts}, {"headers", texts}, {"https_redirect_status_code", number}, {"regex_priority", number},
		{"strip_path", boolean}, {"preserve_host", boolean}, {"snis", texts}, {"sources", texts}, {"destinations", texts},
		{"tags", texts}, {"service", key},
	}
	service = entity{
		{"id", text}, {"created_at", number}, {"updated_at", number}, {"name", text}, {"retries", number}, {"protocol", text},
		{"host", text}, {"port", number}, {"path", text}, {"connect_timeout", number}, {"write_timeout", number}, {"read_timeout", number},
		{"tags", texts}, {"client_certificate", key},
	}
)

// read reads an entity into a map with the names of its fields. An empty message is none.
func (e entity) read(m *factBuilder, b []byte) (any, error) {
	if len(b) == 0 {
		return nil, nil
	}
	return e.table(m, b)
}

func (e entity) table(m *factBuilder, b []byte) (map[string]any, error) {
	if err := m.take(mapSize); err != nil {
		return nil, err
	}
	table := map[string]any{}
	err := eachField(b, func(num protowire.Number, f wireValue) (err error) {
		if int(num) > len(e) {
			return nil
		}
		field := e[num-1]
		var v any
		switch field.kind {
		case text, texts:
			if f.typ != protowire.BytesType {
				return nil
			}
			if v, err = m.string(f.bytes); err != nil {
				return err
			}
			if field.kind == texts {
				list, _ := table[field.name].([]any)
				v = append(list, v)
			}
		case key:
			if f.typ != protowire.BytesType {
				return nil
			}
			if v, err = (entity{{"id", text}}).table(m, f.bytes); err != nil {
				return err
			}
		case number:
			if f.typ != protowire.VarintType {
				return nil
			}
			v = float64(int64(f.number))
		case boolean:
			if f.typ != protowire.VarintType {
				return nil
			}
			v = f.number != 0
		}
		if err := m.take(entrySize); err != nil {
			return err
		}
		table[field.name] = v
		return nil
	})
	return table, err
}
