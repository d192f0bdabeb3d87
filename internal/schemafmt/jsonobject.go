package schemafmt

// object validates the members of an object. Each of several members with the same name must
// be valid, and each counts, because readers differ in which one they use.
func (w *jsonWalk) object(r *objectRules, at uint32, told evaluated) bool {
	if r.min > 0 || r.max >= 0 {
		n := w.count(at)
		if n < r.min {
			return w.fail("must have at least " + plural(r.min, "property", "properties"))
		}
		if r.max >= 0 && n > r.max {
			return w.fail("must have at most " + plural(r.max, "property", "properties"))
		}
	}
	if !w.spend(len(r.required)) {
		return false
	}
	first := len(w.seen)
	for range r.required {
		w.seen = append(w.seen, false)
	}
	ok := w.members(r, at, first, told)
	w.seen = w.seen[:first]
	if !ok {
		return false
	}
	for i := range r.dependent {
		if !w.dependency(&r.dependent[i], at, told) {
			return false
		}
	}
	return true
}

func (w *jsonWalk) members(r *objectRules, at uint32, first int, told evaluated) bool {
	v := w.values[at]
	index := 0
	for i := at + 1; i < v.next; i = w.values[i+1].next {
		if !w.spend(1 + int(w.values[i].end-w.values[i].start)/16) {
			return false
		}
		if r.names != nil && !w.valid(r.names, i, nil) {
			return !w.exhausted && w.fail("has a property whose name does not fit the schema's propertyNames")
		}
		known := false
		name := foreignName
		if p := r.properties[string(w.chars(&w.values[i]))]; p != nil {
			name = p.name
			if p.required >= 0 {
				w.seen[first+p.required] = true
			}
			if p.node != nil {
				if known = true; !w.valid(p.node, i+1, nil) {
					return w.fault.in(name)
				}
			}
		}
		for k := range r.patterns {
			text := w.chars(&w.values[i])
			if !w.spend(1 + r.patterns[k].pattern.work(len(text))) {
				return false
			}
			if r.patterns[k].pattern.Match(text) {
				if known = true; !w.valid(r.patterns[k].node, i+1, nil) {
					return w.fault.in(name)
				}
			}
		}
		if !known && r.additional != nil {
			if r.additional.never {
				return w.fail("has an additional property, which is not allowed")
			}
			if known = true; !w.valid(r.additional, i+1, nil) {
				return w.fault.in(name)
			}
		}
		if told != nil && known {
			told[index] = true
		}
		index++
	}
	for i, name := range r.required {
		if !w.seen[first+i] {
			return w.failName("lacks the property", name)
		}
	}
	return true
}

func (w *jsonWalk) dependency(d *jsonDependency, at uint32, told evaluated) bool {
	if !w.has(at, d.name) {
		return !w.exhausted
	}
	for _, name := range d.required {
		if !w.has(at, name) {
			return !w.exhausted && w.failName("lacks the property, which others need,", name)
		}
	}
	return d.node == nil || w.also(d.node, at, told)
}

// has reports whether an object has a member of that name.
func (w *jsonWalk) has(at uint32, name string) bool {
	v := &w.values[at]
	for i := at + 1; i < v.next; i = w.values[i+1].next {
		if !w.spend(1) {
			return false
		}
		if string(w.chars(&w.values[i])) == name {
			return true
		}
	}
	return false
}

// unevaluated validates the items or members that no other keyword has evaluated.
func (w *jsonWalk) unevaluated(n *jsonNode, at uint32, told evaluated) bool {
	v := w.values[at]
	switch {
	case v.kind == jsonArray && n.arrays != nil && n.arrays.unevaluated != nil:
		index := 0
		for i := at + 1; i < v.next; i = w.values[i].next {
			if !told[index] && !w.valid(n.arrays.unevaluated, i, nil) {
				return w.fault.inItem(index)
			}
			index++
		}
		told.all()
	case v.kind == jsonObject && n.objects != nil && n.objects.unevaluated != nil:
		index := 0
		for i := at + 1; i < v.next; i = w.values[i+1].next {
			if !told[index] {
				name := foreignName
				if p := n.objects.properties[string(w.chars(&w.values[i]))]; p != nil {
					name = p.name
				}
				if !w.valid(n.objects.unevaluated, i+1, nil) {
					return w.fault.in(name)
				}
			}
			index++
		}
		told.all()
	}
	return true
}
