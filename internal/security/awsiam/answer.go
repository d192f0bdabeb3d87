package awsiam

import (
	"encoding/json"
	"errors"
	"fmt"
)

// maxBrokerAnswer is far above what a broker answers, in bytes.
const maxBrokerAnswer = 4096

// CheckAnswer returns what is wrong with a broker's answer to a payload that it accepted: as
// in Amazon's client (AuthenticationResponse), it has the version of the payload and the ID
// of a request. One that refuses the payload says so by an error of Kafka's instead.
func CheckAnswer(b []byte) error {
	if len(b) > maxBrokerAnswer {
		return fmt.Errorf("the broker's answer is longer than %d bytes", maxBrokerAnswer)
	}
	var a struct {
		Version   string `json:"version"`
		RequestID string `json:"request-id"`
	}
	if json.Unmarshal(b, &a) != nil || a.Version != version || a.RequestID == "" {
		return errors.New("the broker's answer is not one of MSK's: it may not be the broker that it should be")
	}
	return nil
}
