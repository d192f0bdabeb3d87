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

// Bounds of times, and of integers that are times in seconds. kafka-go sends the time of the
// batch in place of 0, and cannot count beyond the year 2262.
const (
	maxMilli   = 9214646399999   // the last of the year 2261
	leastMilli = 100_000_000_000 // an integer from here on is in milliseconds: in seconds, it would be in the year 5138
)

// parseTime parses an integer, in milliseconds or seconds since 1970, seconds with a
// fraction, or a time by RFC 3339. It must be after the beginning of 1970 and before the year
// 2262.
func parseTime(s []byte) (time.Time, bool) {
	t, ok := parseSeconds(s)
	if !ok {
		t, ok = parseRFC3339(s)
	}
	return t, ok && t.UnixMilli() > 0 && t.UnixMilli() <= maxMilli
}

// parseSeconds parses seconds or milliseconds since 1970.
func parseSeconds(s []byte) (t time.Time, ok bool) {
	whole, fraction, decimal := bytes.Cut(s, dot)
	if !isDigits(whole) || len(whole) > 15 {
		return t, false
	}
	n, err := strconv.ParseInt(string(whole), 10, 64)
	switch {
	case err != nil:
		return t, false
	case !decimal && n >= leastMilli:
		return time.UnixMilli(n), true
	case !decimal:
		return time.Unix(n, 0), true
	case !isDigits(fraction):
		return t, false
	}
	var nanos int64
	for i := range 9 {
		nanos *= 10
		if i < len(fraction) {
			nanos += int64(fraction[i] - '0')
		}
	}
	return time.Unix(n, nanos), true
}

// parseRFC3339 parses a time by RFC 3339, with "T" and "Z" in upper or lower case.
func parseRFC3339(s []byte) (t time.Time, ok bool) {
	const shortest, longest = len("2006-01-02T15:04:05Z"), 64
	if len(s) < shortest || len(s) > longest {
		return t, false
	}
	var upper [longest]byte
	for i, c := range s {
		if c == 't' || c == 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	// Package time also takes an hour of one digit, a comma for the point, and offsets of 24
	// hours and of 60 minutes.
	if s[13] != ':' || bytes.IndexByte(s, ',') >= 0 {
		return t, false
	}
	if offset := s[len(s)-len("+00:00"):]; upper[len(s)-1] != 'Z' && (string(offset[1:3]) > "23" || string(offset[4:]) > "59") {
		return t, false
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
