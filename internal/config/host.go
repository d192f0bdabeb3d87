package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"kafka-upstream/internal/foreign"
)

const (
	maxHost  = 253 // RFC 1035, section 2.3.4, without the length of the first label and the root
	maxLabel = 63
	maxTopic = 249
)

// hostProblem returns what is wrong with host as a broker's host, and what to do, as
// the end of a sentence that starts with the host; "" if nothing is. It takes names (RFC 1123, and
// underscores, which Docker Compose puts into names), IPv4 addresses, and IPv6
// addresses with or without brackets and zones. A host that kafka-go would read as
// several addresses, or as an address with a port, must not pass.
func hostProblem(host string) string {
	switch {
	case len(host) > maxHost:
		return fmt.Sprintf("has %d bytes: a host has %d at most", len(host), maxHost)
	case strings.ContainsAny(host, ",;"):
		return "names several brokers: use one element of bootstrap_servers for each"
	case strings.Contains(host, "://"):
		scheme, _, _ := strings.Cut(host, "://")
		return fmt.Sprintf("has a scheme in it: remove %s, and set security.ssl where the brokers speak TLS", shown(scheme+"://"))
	}
	if i := strings.IndexFunc(host, strange); i >= 0 {
		r := []rune(host[i:])[0]
		switch {
		case unicode.IsSpace(r):
			return "has white space in it: remove it"
		case r > unicode.MaxASCII && unicode.IsLetter(r):
			return fmt.Sprintf("has the character %q in it: write an international name in its ASCII form (xn--…)", r)
		}
		return fmt.Sprintf("has the character %q in it: use a host name or an IP address", r)
	}
	if strings.ContainsAny(host, ":[]%") {
		return addressProblem(host)
	}
	return nameProblem(host)
}

// strange reports whether r cannot be part of any host.
func strange(r rune) bool {
	return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(".-_:[]%", r)
}

// addressProblem is hostProblem for what can only be an IPv6 address.
func addressProblem(host string) string {
	address := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && (strings.Count(host, ":") == 1 || host[i-min(i, 1)] == ']') {
		if port := host[i+1:]; strings.Trim(port, "0123456789") == "" {
			if port == "" {
				return "ends with a colon: remove it, and put the port into port"
			}
			return fmt.Sprintf("has a port in it: put %s into port, and %q into host", port, host[:i])
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); !ok {
			return "has brackets that do not match: an IPv6 address has both or none"
		}
		address = inner
	}
	if strings.ContainsAny(address, "[]") {
		return "has brackets that do not match: an IPv6 address has both or none"
	}
	if a, err := netip.ParseAddr(address); err != nil || !a.Is6() || strings.Contains(a.Zone(), "%") {
		return "is not an IPv6 address, and nothing else has brackets, colons or percent signs"
	}
	return ""
}

// nameProblem is hostProblem for a host name or an IPv4 address.
func nameProblem(host string) string {
	if strings.Trim(host, "0123456789.") == "" && strings.Trim(host, ".") != "" {
		if a, err := netip.ParseAddr(host); err != nil || !a.Is4() {
			return "is not an IPv4 address: it needs four numbers from 0 to 255"
		}
		return ""
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		switch {
		case label == "":
			return "has an empty part before, between or after dots"
		case len(label) > maxLabel:
			return fmt.Sprintf("has a part of %d bytes: what is between two dots has %d at most", len(label), maxLabel)
		case label[0] == '-', label[len(label)-1] == '-':
			return fmt.Sprintf("has the part %q: none begins or ends with a hyphen", label)
		}
	}
	return ""
}

// topicProblem returns why topic is not a valid name of a topic (Kafka's
// Topic.validate), as the end of a sentence that starts with it; "" if it is valid.
func topicProblem(topic string) string {
	legal := func(r rune) bool { return !strange(r) && !strings.ContainsRune(":[]%", r) }
	switch i := strings.IndexFunc(topic, func(r rune) bool { return !legal(r) }); {
	case len(topic) > maxTopic:
		return fmt.Sprintf("has %d bytes: a topic has %d at most", len(topic), maxTopic)
	case i >= 0:
		return fmt.Sprintf("has the character %q in it: a topic name consists of letters, digits, '.', '_' and '-'", []rune(topic[i:])[0])
	case topic == ".", topic == "..":
		return "is not a name that Kafka takes"
	}
	return ""
}

// shown quotes and cuts a text of the configuration for an error.
func shown(s string) string { return strconv.Quote(foreign.Cut(s, 100)) }
