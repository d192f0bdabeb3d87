package lualib

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"strings"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

// maxRandom bounds random bytes.
const maxRandom = 1 << 20

func randomBytesFor(name string) glua.LGFunction {
	return func(l *glua.LState) int {
		n := toInt(numberArg(l, 1, name))
		if n < 0 || n > maxRandom {
			l.RaiseError("bad argument #1 to '%s' (a number from 0 to %d expected)", name, maxRandom)
		}
		sandbox.Charge(l, 10+n/16, 32+2*int64(n))
		b := make([]byte, n)
		rand.Read(b) // never fails
		return pushString(l, string(b))
	}
}

var randomBytes = randomBytesFor("bytes")

// randFunctions are kong.tools.rand.
var randFunctions = map[string]glua.LGFunction{
	"get_rand_bytes": randomBytesFor("get_rand_bytes"),
	"random_string": func(l *glua.LState) int {
		sandbox.Charge(l, 10, 128)
		return pushString(l, randomString())
	},
}

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// randomString is 32 letters and digits.
func randomString() string {
	var out [32]byte
	var b [64]byte
	for n := 0; n < len(out); {
		rand.Read(b[:])
		for _, c := range b {
			if c &= 63; int(c) < len(alphanumeric) && n < len(out) {
				out[n] = alphanumeric[c]
				n++
			}
		}
	}
	return string(out[:])
}

// formatUUID writes the first 16 bytes of b as a UUID of a version (RFC 9562).
func formatUUID(b []byte, version byte) string {
	b[6] = b[6]&0x0f | version<<4
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// parseUUID reads 8-4-4-4-12 hexadecimal digits.
func parseUUID(s string) ([]byte, bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return nil, false
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	return b, err == nil && len(b) == 16
}

func uuidV4(l *glua.LState) int {
	sandbox.Charge(l, 10, 128)
	b := make([]byte, 16)
	rand.Read(b)
	return pushString(l, formatUUID(b, 4))
}

// named makes the UUID of a name within a namespace: version 3 or 5.
func named(version byte, function string) glua.LGFunction {
	return func(l *glua.LState) int {
		space, name := l.Get(1), l.Get(2)
		if space.Type() != glua.LTString {
			return pushError(l, "namespace must be a string")
		}
		if name.Type() != glua.LTString {
			return pushError(l, "name must be a string")
		}
		b, ok := parseUUID(string(space.(glua.LString)))
		if !ok {
			return pushError(l, "namespace must be a valid UUID")
		}
		s := string(name.(glua.LString))
		chargeHash(l, len(s)+16)
		b = append(b, s...)
		if version == 3 {
			sum := md5.Sum(b)
			return pushString(l, formatUUID(sum[:], 3))
		}
		sum := sha1.Sum(b)
		return pushString(l, formatUUID(sum[:], 5))
	}
}

// uuidFunctions are what modules/resty.jit-uuid.lua is made of.
var uuidFunctions = map[string]glua.LGFunction{
	"generate_v4": uuidV4,
	"generate_v3": named(3, "generate_v3"),
	"generate_v5": named(5, "generate_v5"),
	"is_valid": func(l *glua.LState) int {
		s, ok := l.Get(1).(glua.LString)
		if ok {
			b, valid := parseUUID(string(s))
			ok = valid && b[8]&0xc0 == 0x80 // the variant of RFC 9562
		}
		l.Push(glua.LBool(ok))
		return 1
	},
}

// kongUUIDFunctions are kong.tools.uuid, which takes any 32 digits for a UUID.
var kongUUIDFunctions = map[string]glua.LGFunction{
	"uuid": uuidV4,
	"is_valid_uuid": func(l *glua.LState) int {
		s, ok := l.Get(1).(glua.LString)
		if ok {
			_, ok = parseUUID(string(s))
		}
		l.Push(glua.LBool(ok))
		return 1
	},
}
