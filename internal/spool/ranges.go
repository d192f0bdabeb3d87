package spool

import "sort"

// span is the numbers from from to, but not including, to.
type span struct{ from, to uint32 }

// ranges is a set of numbers: spans in ascending order that do not touch. Records are done
// with nearly in order, so there are few.
type ranges []span

// search returns the index of the first span that ends after n.
func (r ranges) search(n uint32) int {
	if k := len(r); k > 0 && r[k-1].to <= n { // numbers mostly come in order
		return k
	}
	return sort.Search(len(r), func(i int) bool { return r[i].to > n })
}

// contains reports whether n is in the set.
func (r ranges) contains(n uint32) bool {
	i := r.search(n)
	return i < len(r) && r[i].from <= n
}

// covers reports whether all of from to to are in the set.
func (r ranges) covers(from, to uint32) bool {
	i := r.search(from)
	return from >= to || i < len(r) && r[i].from <= from && to <= r[i].to
}

// overlaps reports whether any of from to to are in the set.
func (r ranges) overlaps(from, to uint32) bool {
	i := r.search(from)
	return i < len(r) && r[i].from < to
}

// add puts from to to into the set, and returns how many were not in it before.
func (r *ranges) add(from, to uint32) int {
	if from >= to {
		return 0
	}
	a := *r
	i := a.search(from)
	if i > 0 && a[i-1].to == from {
		i--
	}
	added := int(to - from)
	merged := span{from, to}
	j := i
	for ; j < len(a) && a[j].from <= to; j++ {
		if overlap := int64(min(a[j].to, to)) - int64(max(a[j].from, from)); overlap > 0 {
			added -= int(overlap)
		}
		merged.from, merged.to = min(merged.from, a[j].from), max(merged.to, a[j].to)
	}
	if i == j {
		a = append(a, span{})
		copy(a[i+1:], a[i:])
	} else {
		a = append(a[:i+1], a[j:]...)
	}
	a[i] = merged
	*r = a
	return added
}

// remove takes from to to out of the set.
func (r *ranges) remove(from, to uint32) {
	var kept ranges
	for _, s := range *r {
		if s.from < from {
			kept = append(kept, span{s.from, min(s.to, from)})
		}
		if s.to > to {
			kept = append(kept, span{max(s.from, to), s.to})
		}
	}
	*r = kept
}
