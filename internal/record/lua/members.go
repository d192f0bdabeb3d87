package lua

import "iter"

// member is a member of an object of JSON, as it is written.
type member struct {
	name  []byte // without its quotes
	value []byte
	all   []byte // name, colon and value
}

// members returns the members of an object of JSON. It yields one without a value, and ends,
// where s is not JSON. Values are not checked beyond what it takes to find their ends.
func members(s []byte) iter.Seq[member] {
	return func(yield func(member) bool) {
		i := skipSpace(s, 1)
		if i < len(s) && s[i] == '}' {
			return
		}
		for {
			from := i
			if i >= len(s) || s[i] != '"' {
				break
			}
			if i = skipText(s, i); i > len(s) {
				break
			}
			name := s[from+1 : i-1]
			if i = skipSpace(s, i); i >= len(s) || s[i] != ':' {
				break
			}
			value := skipSpace(s, i+1)
			if i = skipValue(s, value); i > len(s) {
				break
			}
			if !yield(member{name, s[value:i], s[from:i]}) {
				return
			}
			if i = skipSpace(s, i); i < len(s) && s[i] == '}' {
				return
			}
			if i >= len(s) || s[i] != ',' {
				break
			}
			i = skipSpace(s, i+1)
		}
		yield(member{})
	}
}

// The skip functions return the position after what begins at i, len(s)+1 if it has no end.

func skipSpace(s []byte, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r') {
		i++
	}
	return i
}

func skipText(s []byte, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return len(s) + 1
}

func skipValue(s []byte, i int) int {
	from := i
	for depth := 0; i < len(s); {
		switch s[i] {
		case '"':
			if i = skipText(s, i); i > len(s) {
				return i
			}
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return end(s, from, i)
			}
			if depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return end(s, from, i)
			}
		}
		i++
	}
	return len(s) + 1
}

// end is the end of a word or a number.
func end(s []byte, from, i int) int {
	if i == from {
		return len(s) + 1
	}
	return i
}
