package lualib

import (
	"net/netip"
	"strconv"
	"strings"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

// ipFunctions are the functions of kong.tools.ip that take one address.
var ipFunctions = map[string]glua.LGFunction{
	"is_valid_ipv4":          validIP(func(s string) bool { return isIP(s, 4) }),
	"is_valid_ipv6":          validIP(func(s string) bool { return isIP(s, 6) }),
	"is_valid_ip":            validIP(func(s string) bool { return isIP(s, 4) || isIP(s, 6) }),
	"is_valid_cidr_v4":       validIP(func(s string) bool { return isCIDR(s, 4) }),
	"is_valid_cidr_v6":       validIP(func(s string) bool { return isCIDR(s, 6) }),
	"is_valid_cidr":          validIP(func(s string) bool { return isCIDR(s, 4) || isCIDR(s, 6) }),
	"is_valid_ip_or_cidr_v4": validIP(func(s string) bool { return isIP(s, 4) || isCIDR(s, 4) }),
	"is_valid_ip_or_cidr_v6": validIP(func(s string) bool { return isIP(s, 6) || isCIDR(s, 6) }),
	"is_valid_ip_or_cidr": validIP(func(s string) bool {
		return isIP(s, 4) || isIP(s, 6) || isCIDR(s, 4) || isCIDR(s, 6)
	}),
	"hostname_type": func(l *glua.LState) int {
		return pushString(l, hostnameType(hostArg(l, "hostname_type")))
	},
	"normalize_ipv4": normalizer("normalize_ipv4", normalizeIPv4),
	"normalize_ipv6": normalizer("normalize_ipv6", normalizeIPv6),
	"check_hostname": normalizer("check_hostname", checkHostname),
}

func validIP(f func(string) bool) glua.LGFunction {
	return func(l *glua.LState) int {
		s, ok := l.Get(1).(glua.LString)
		sandbox.Charge(l, 5, 0)
		l.Push(glua.LBool(ok && len(s) <= 64 && f(string(s))))
		return 1
	}
}

func isIP(s string, version int) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == "" && a.Is4() == (version == 4)
}

func isCIDR(s string, version int) bool {
	p, err := netip.ParsePrefix(s)
	return err == nil && p.Addr().Is4() == (version == 4)
}

// maxHost bounds a host with its port in bytes.
const maxHost = 1024

func hostArg(l *glua.LState, function string) string {
	s := stringArg(l, 1, function)
	if len(s) > maxHost {
		l.RaiseError("bad argument #1 to '%s' (longer than %d bytes)", function, maxHost)
	}
	sandbox.Charge(l, 10+len(s)/8, 256)
	return s
}

func hostnameType(s string) string {
	switch {
	case strings.Count(s, ":") > 1:
		return "ipv6"
	case strings.Trim(strings.ReplaceAll(s, ":", ""), "0123456789.") == "" && strings.Trim(s, ":") != "":
		return "ipv4"
	}
	return "name"
}

// normalizer makes a function of f, which returns a host, a port, "" for none, and what is
// wrong.
func normalizer(name string, f func(string) (host, port, failure string)) glua.LGFunction {
	return func(l *glua.LState) int {
		host, port, failure := f(hostArg(l, name))
		if failure != "" {
			return pushError(l, failure)
		}
		l.Push(glua.LString(host))
		if port == "" {
			return 1
		}
		n, _ := strconv.ParseUint(port, 10, 64)
		if n > 65535 || len(port) > 18 {
			l.Pop(1)
			return pushError(l, "invalid port number")
		}
		l.Push(glua.LNumber(n))
		return 2
	}
}

func digits(s string, most int) bool {
	return s != "" && len(s) <= most && strings.Trim(s, "0123456789") == ""
}

func normalizeIPv4(s string) (host, port, failure string) {
	bad := "invalid ipv4 address: " + s
	rest, port, has := strings.Cut(s, ":")
	if has && !digits(port, maxHost) {
		return "", "", bad
	}
	parts := strings.Split(rest, ".")
	if len(parts) != 4 {
		return "", "", bad
	}
	for i, p := range parts {
		n, _ := strconv.Atoi(p)
		if !digits(p, 3) || n > 255 {
			return "", "", bad
		}
		parts[i] = strconv.Itoa(n)
	}
	return strings.Join(parts, "."), port, ""
}

func normalizeIPv6(s string) (host, port, failure string) {
	host = s
	if strings.HasPrefix(s, "[") {
		inner, after, ok := strings.Cut(s[1:], "]")
		if !ok || after != "" && (after[0] != ':' || !digits(after[1:], maxHost)) {
			return "", "", "invalid ipv6 address"
		}
		host, port = inner, strings.TrimPrefix(after, ":")
	}
	a, err := netip.ParseAddr(host)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return "", "", "invalid ipv6 address: " + s
	}
	return a.StringExpanded(), port, ""
}

func checkHostname(s string) (host, port, failure string) {
	host = s
	if n := strings.LastIndexByte(s, ':'); n >= 0 && digits(s[n+1:], maxHost) {
		host, port = s[:n], s[n+1:]
	}
	labels := strings.Split(host, ".")
	for i, label := range labels {
		for j := 0; j < len(label); j++ {
			if c := label[j]; !wordByte(c) && c != '-' {
				return "", "", "invalid hostname: " + s
			}
		}
		if strings.HasSuffix(label, "-") || label == "" && (i < len(labels)-1 || host == "") {
			return "", "", "invalid hostname: " + s
		}
	}
	return host, port, ""
}
