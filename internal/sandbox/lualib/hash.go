package lualib

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash/crc32"

	glua "github.com/yuin/gopher-lua"

	"kafka-upstream/internal/sandbox"
)

// chargeHash charges for a hash of n bytes, which costs several times what a copy does.
func chargeHash(l *glua.LState, n int) { sandbox.Charge(l, 5+n/64, 256+int64(n)) }

func hexOf(s string) string { return hex.EncodeToString([]byte(s)) }

// digests are the hashes by name.
var digests = map[string]func(string) string{
	"md5":    func(s string) string { b := md5.Sum([]byte(s)); return string(b[:]) },
	"sha1":   func(s string) string { b := sha1.Sum([]byte(s)); return string(b[:]) },
	"sha224": func(s string) string { b := sha256.Sum224([]byte(s)); return string(b[:]) },
	"sha256": func(s string) string { b := sha256.Sum256([]byte(s)); return string(b[:]) },
	"sha384": func(s string) string { b := sha512.Sum384([]byte(s)); return string(b[:]) },
	"sha512": func(s string) string { b := sha512.Sum512([]byte(s)); return string(b[:]) },
}

func ngxHash(name string, hexadecimal bool) glua.LGFunction {
	digest := digests[name]
	return func(l *glua.LState) int {
		s := anyString(l, 1)
		chargeHash(l, len(s))
		d := digest(s)
		if hexadecimal {
			d = hexOf(d)
		}
		return pushString(l, d)
	}
}

func ngxHmacSHA1(l *glua.LState) int {
	if l.GetTop() != 2 {
		l.RaiseError("expecting 2 arguments")
	}
	key, s := stringArg(l, 1, "hmac_sha1"), stringArg(l, 2, "hmac_sha1")
	chargeHash(l, len(key)+len(s)+128)
	h := hmac.New(sha1.New, []byte(key))
	h.Write([]byte(s))
	return pushString(l, string(h.Sum(nil)))
}

// ngxCRC32 is crc32_short and crc32_long, which differ only in how fast they are.
func ngxCRC32(name string) glua.LGFunction {
	return func(l *glua.LState) int {
		oneArgument(l)
		s := stringArg(l, 1, name)
		chargeHash(l, len(s))
		l.Push(glua.LNumber(crc32.ChecksumIEEE([]byte(s))))
		return 1
	}
}

// hashModule are Kong's functions for a hash, such as sha256_hex.
func hashModule(name string) map[string]glua.LGFunction {
	m := map[string]glua.LGFunction{}
	for suffix, encode := range map[string]func(string) string{
		"_bin":       func(s string) string { return s },
		"_hex":       hexOf,
		"_base64":    func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"_base64url": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	} {
		m[name+suffix] = func(l *glua.LState) int {
			s := stringArg(l, 1, name+suffix)
			chargeHash(l, len(s))
			return pushString(l, encode(digests[name](s)))
		}
	}
	return m
}

// restyHash is what modules/resty.hash.lua needs of a hash.
func restyHash(name string) map[string]glua.LGFunction {
	return map[string]glua.LGFunction{"digest": func(l *glua.LState) int {
		s := stringArg(l, 1, "final")
		chargeHash(l, len(s))
		return pushString(l, digests[name](s))
	}}
}
