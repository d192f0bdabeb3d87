package sasl

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	// minIterations is what RFC 7677 asks of SHA-256, and Kafka of both.
	minIterations = 4096
	// maxIterations is eight times the most that Kafka can be told to store (16384,
	// KIP-554). Deriving a key then takes about 30 ms of CPU with SHA-256, and 100 ms with
	// SHA-512: a false broker can make us spend no more.
	maxIterations = 1 << 17
	// maxScramMessage is far above what a broker sends, in bytes.
	maxScramMessage = 4096
)

// keyFactors are what the keys depend on, in addition to the password.
type keyFactors struct {
	salt       string // decoded
	iterations int
}

// serverFirst is a broker's challenge: the server-first-message of RFC 5802,
// section 7.
type serverFirst struct {
	nonce string // ours and the broker's part after it
	keyFactors
}

// parseServerFirst reads the challenge of the exchange with that client nonce. It is at
// least as strict as xdg-go's parser, which reads the same message later.
func parseServerFirst(message, clientNonce string) (serverFirst, error) {
	malformed := func(what string) (serverFirst, error) {
		return serverFirst{}, errors.New("the broker's SCRAM challenge is malformed: " + what)
	}
	if len(message) > maxScramMessage {
		return malformed(fmt.Sprintf("it is longer than %d bytes", maxScramMessage))
	}
	if strings.HasPrefix(message, "m=") {
		return serverFirst{}, errors.New("the broker's SCRAM challenge requires an unknown extension")
	}
	fields := strings.Split(message, ",") // more than three are optional extensions
	if len(fields) < 3 {
		return malformed("it lacks a nonce, a salt or a number of iterations")
	}
	nonce, ok := strings.CutPrefix(fields[0], "r=")
	if !ok || !printable(nonce) {
		return malformed("it has no nonce where one should be")
	}
	if len(nonce) <= len(clientNonce) || !strings.HasPrefix(nonce, clientNonce) {
		return serverFirst{}, errors.New("the broker's SCRAM challenge is not for this exchange: its nonce does not continue ours")
	}
	encoded, ok := strings.CutPrefix(fields[1], "s=")
	if !ok || encoded == "" || !printable(encoded) {
		return malformed("it has no salt where one should be")
	}
	salt, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return malformed("its salt is not base64")
	}
	digits, ok := strings.CutPrefix(fields[2], "i=")
	if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return malformed("it has no number of iterations where one should be")
	}
	iterations, err := strconv.Atoi(digits)
	if err != nil || iterations > maxIterations {
		return serverFirst{}, fmt.Errorf("the broker asks for more than %d SCRAM iterations, the most that are computed", maxIterations)
	}
	if iterations < minIterations {
		return serverFirst{}, fmt.Errorf("the broker asks for %d SCRAM iterations, too few to protect the password: store the password with at least %d", iterations, minIterations)
	}
	return serverFirst{nonce, keyFactors{string(salt), iterations}}, nil
}

// parseServerFinal reads the server-final-message of RFC 5802, section 7: the
// broker's signature, or its refusal as an error.
func parseServerFinal(message string) (signature []byte, err error) {
	malformed := errors.New("the broker's last SCRAM message is malformed")
	if len(message) > maxScramMessage {
		return nil, malformed
	}
	field, _, _ := strings.Cut(message, ",") // optional extensions follow
	if reason, ok := strings.CutPrefix(field, "e="); ok {
		return nil, refusedError(reason)
	}
	encoded, ok := strings.CutPrefix(field, "v=")
	if !ok || encoded == "" || !printable(encoded) {
		return nil, malformed
	}
	if signature, err = base64.StdEncoding.Strict().DecodeString(encoded); err != nil {
		return nil, malformed
	}
	return signature, nil
}

// refusedError is a broker's reason for its refusal.
type refusedError string

func (e refusedError) Error() string {
	return fmt.Sprintf("the broker refused the login: %.100q", string(e))
}

// printable reports whether s consists of RFC 5802's printable characters other than the
// comma. (The base64 decoder, for one, ignores line feeds.)
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return s != ""
}
