package kongsim

import (
	"strconv"
	"strings"
)

// normalizePath returns what Kong makes of the path of a target: for kong.request.get_path, and
// to match it with routes. Percent-encoded characters are decoded but for reserved ones, empty
// segments are left out, and dots are resolved.
func normalizePath(path string) string {
	return resolveDots(unescape(path, func(c byte) bool { return !strings.ContainsRune("!*'();:@&=+$,/?%#[]", rune(c)) }))
}

// nginxURI returns nginx's $uri.
func nginxURI(path string) string {
	return resolveDots(unescape(path, func(byte) bool { return true }))
}

// unescape decodes the percent-encoded bytes that it may decode, and writes the others in
// capitals.
func unescape(s string, decode func(byte) bool) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				if decode(byte(c)) {
					b.WriteByte(byte(c))
				} else {
					b.WriteString(strings.ToUpper(s[i : i+3]))
				}
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// resolveDots leaves out empty segments and those of dots.
func resolveDots(path string) string {
	if !strings.HasPrefix(path, "/") {
		return path // a target such as "*"
	}
	var out []string
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case "..":
			out = out[:max(0, len(out)-1)]
			fallthrough
		case ".", "":
			if last {
				out = append(out, "") // a slash at the end
			}
		default:
			out = append(out, s)
		}
	}
	return "/" + strings.Join(out, "/")
}
