package awsiam

import (
	"strings"
	"testing"
)

func TestBrokersAnswerIsThatOfMSK(t *testing.T) {
	for answer, ok := range map[string]bool{
		`{"version":"2020_10_22","request-id":"6d2b0f5e-7e2c-4a54-9a5b-1f0c2b7d9e11"}`: true,
		`{"request-id":"x","version":"2020_10_22","more":[1]}`:                         true,
		`{"version":"2020_10_22"}`:                                                     false,
		`{"version":"2030_10_22","request-id":"x"}`:                                    false,
		`{"version":20201022,"request-id":"x"}`:                                        false,
		`["2020_10_22"]`:                                                               false,
		``:                                                                             false,
		`null`:                                                                         false,
		`{"version":"2020_10_22","request-id":"` + strings.Repeat("x", maxBrokerAnswer) + `"}`: false,
	} {
		if err := CheckAnswer([]byte(answer)); (err == nil) != ok {
			t.Errorf("%.100s: got %v", answer, err)
		}
	}
}
