package record

import (
	"bytes"
	"strconv"
	"time"

	"kafka-upstream/internal/request"
)

var errTimestamp error = &BadRequest{Reason: "the timestamp header is not valid"}

// timestamp returns the time that a header has, at if the request does not have the header.
func timestamp(r *request.Request, name string, at time.Time) (time.Time, error) {
	value, ok := header(r, name)
	if !ok {
		return at, nil
	}
	t, ok := parseTime(bytes.TrimSpace(value))
	if !ok {
		return at, errTimestamp
	}
	return t, nil
}

// Bounds of times, and of integers that are times in seconds.
const (
	maxMilli   = 253402300799999 // the last of the year 9999
	leastMilli = 100_000_000_000 // an integer from here on is in milliseconds: in seconds, it would be in the year 5138
)

// parseTime parses an integer, in milliseconds or seconds since 1970, seconds with a
// fraction, or a time by RFC 3339. It must be from 1970 to the year 9999.
func parseTime(s []byte) (time.Time, bool) {
	whole, fraction, decimal := bytes.Cut(s, dot)
	if isDigits(whole) && len(whole) <= 15 {
		n, _ := strconv.ParseInt(string(whole), 10, 64)
		switch {
		case !decimal && n >= leastMilli:
			return time.UnixMilli(n), n <= maxMilli
		case !decimal:
			return time.Unix(n, 0), true
		case !isDigits(fraction):
			return time.Time{}, false
		}
		var nanos int64
		for i := range 9 {
			nanos *= 10
			if i < len(fraction) {
				nanos += int64(fraction[i] - '0')
			}
		}
		return time.Unix(n, nanos), n <= maxMilli/1000
	}
	t, ok := parseRFC3339(s)
	return t, ok && t.Unix() >= 0 && t.UnixMilli() <= maxMilli
}

// parseRFC3339 parses a time by RFC 3339, with "T" and "Z" in upper or lower case.
func parseRFC3339(s []byte) (t time.Time, ok bool) {
	const longest = 64
	if len(s) > longest {
		return t, false
	}
	var upper [longest]byte
	for i, c := range s {
		if c == 't' || c == 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	return t, t.UnmarshalText(upper[:len(s)]) == nil
}

func isDigits(s []byte) bool {
	for _, c := range s {
		if c-'0' > 9 {
			return false
		}
	}
	return len(s) > 0
}

var dot = []byte{'.'}
