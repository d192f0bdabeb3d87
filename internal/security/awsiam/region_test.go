package awsiam

import "testing"

func TestRegionIsInTheNamesOfBrokers(t *testing.T) {
	for host, want := range map[string]string{
		"b-1.orders.4qxy2m.c2.kafka.eu-central-1.amazonaws.com":   "eu-central-1",
		"B-1.orders.4qxy2m.c2.Kafka.EU-central-1.amazonaws.com.":  "eu-central-1",
		"b-1.kafka.4qxy2m.c2.kafka.us-gov-west-1.amazonaws.com":   "us-gov-west-1",
		"boot-1a2b3c.c1.kafka-serverless.us-east-1.amazonaws.com": "us-east-1",
		"b-2.orders.4qxy2m.c3.kafka.cn-north-1.amazonaws.com.cn":  "cn-north-1",
		"b-1.kafka.eu-central-1.amazonaws.com.example":            "",
		"b-1.kafka.eu_central.amazonaws.com":                      "",
		"b-1.other.eu-central-1.amazonaws.com":                    "",
		"kafka.amazonaws.com":                                     "",
		"amazonaws.com":                                           "",
		"localhost":                                               "",
		"":                                                        "",
	} {
		if got := RegionOf(host); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}
