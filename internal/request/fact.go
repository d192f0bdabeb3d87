package request

// Fact names something that Kong knows about a request beside what a [Request] has
// anyway, such as its consumer.
type Fact struct {
	// Call is Kong's name of the call that returns it, such as
	// "kong.client.get_consumer".
	Call string
	// Name is the argument of a call that takes a name, such as "kong.nginx.get_var".
	Name string
}

// FactValue is the value of a fact.
type FactValue struct {
	Fact
	// Value is nil, a bool, a float64, a string, a []any of these, or a map[string]any of
	// these. It is read-only.
	Value any
}

// Fact returns the value of a fact, nil if there is none.
func (r *Request) Fact(f Fact) any {
	for i := range r.Facts {
		if r.Facts[i].Fact == f {
			return r.Facts[i].Value
		}
	}
	return nil
}

// Merge returns the fields that f or g wants.
func (f Fields) Merge(g Fields) Fields {
	f.Method = f.Method || g.Method
	f.URI = f.URI || g.URI
	f.Query = f.Query || g.Query
	f.Headers = f.Headers || g.Headers
	f.Body = f.Body || g.Body
	f.MaxBody = max(f.MaxBody, g.MaxBody)
	facts := f.Facts[:len(f.Facts):len(f.Facts)]
	for _, fact := range g.Facts {
		if !contains(facts, fact) {
			facts = append(facts, fact)
		}
	}
	f.Facts = facts
	return f
}

func contains(facts []Fact, f Fact) bool {
	for i := range facts {
		if facts[i] == f {
			return true
		}
	}
	return false
}
