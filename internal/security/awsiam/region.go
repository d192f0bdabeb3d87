package awsiam

import (
	"regexp"
	"strings"
)

// regionForm is the form of a region's name. It is made part of the name of a host, so it must
// have no other character.
var regionForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)+$`)

func isRegion(s string) bool { return len(s) <= 32 && regionForm.MatchString(s) }

// RegionOf returns the region in the name of one of MSK's brokers, such as
// b-1.orders.4qxy2m.c2.kafka.eu-central-1.amazonaws.com or
// boot-1a2b3c.c1.kafka-serverless.us-east-1.amazonaws.com; "" if there is none.
func RegionOf(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	name, ok := strings.CutSuffix(strings.TrimSuffix(host, ".cn"), ".amazonaws.com")
	if !ok {
		return ""
	}
	dot := strings.LastIndexByte(name, '.')
	of, region := name[:max(dot, 0)], name[dot+1:]
	if !strings.HasSuffix(of, ".kafka") && !strings.HasSuffix(of, ".kafka-serverless") || !isRegion(region) {
		return ""
	}
	return region
}

// stsURL returns the address of a region's Security Token Service. In China the domain is
// another one.
func stsURL(region string) string {
	u := "https://sts." + region + ".amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		u += ".cn"
	}
	return u + "/"
}
