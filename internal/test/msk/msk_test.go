package msk

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

var keys = []Key{
	{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""},
	{"ASIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI+K7MDENG/bPxRfiCYEXAMPLEKEY", "IQoJb3JpZ2luX2VjEPT//////////wEaCmV1LWNlbnRyYWwtMSJIMEYCIQDx+z/Example+Token=="},
}

// The payloads are of Amazon's own client for Java.
func TestPayloadsOfAmazonsClientAreAccepted(t *testing.T) {
	f, err := os.Open("../../security/awsiam/testdata/payloads.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	count := 0
	for lines := bufio.NewScanner(f); lines.Scan(); count++ {
		payload := lines.Bytes()
		var m map[string]string
		if err := json.Unmarshal(payload, &m); err != nil {
			t.Fatal(err)
		}
		host, date := m["host"], m["x-amz-date"]
		id, region := strings.Split(m["x-amz-credential"], "/")[0], strings.Split(m["x-amz-credential"], "/")[2]
		at, err := time.Parse("20060102T150405Z", date)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Verify(payload, host, region, at.Add(time.Minute), keys...); err != nil || got != id {
			t.Errorf("got %s, %v", got, err)
		}
		other := []Key{{keys[0].ID, keys[0].Secret + "x", ""}, {keys[1].ID, keys[1].Secret + "x", keys[1].Token}}
		for _, refused := range []struct {
			payload      []byte
			host, region string
			at           time.Time
			keys         []Key
		}{
			{payload, "b-9.kafka.eu-central-1.amazonaws.com", region, at, keys},
			{payload, host, "us-west-2", at, keys},
			{payload, host, region, at.Add(16 * time.Minute), keys},
			{payload, host, region, at.Add(-6 * time.Minute), keys},
			{payload, host, region, at, other},
			{payload, host, region, at, nil},
			{bytes.Replace(payload, []byte(`"900"`), []byte(`"901"`), 1), host, region, at, keys},
			{bytes.Replace(payload, []byte(date), []byte(date[:13]+"59Z"), 1), host, region, at, keys},
			{bytes.Replace(payload, []byte("{"), []byte(`{"more":"x",`), 1), host, region, at, keys},
			{payload[1:], host, region, at, keys},
		} {
			if _, err := Verify(refused.payload, refused.host, refused.region, refused.at, refused.keys...); err == nil {
				t.Errorf("accepted: %+v", refused)
			}
		}
	}
	if count == 0 {
		t.Error("there are no payloads")
	}
}
