package schemafmt

import (
	"math/big"
	"strconv"
)

// decimal is a JSON number as it was written, exactly: digits × 10^exponent.
type decimal struct {
	negative bool
	digits   []byte // without zeros at its ends; empty: the number is 0
	exponent int    // at most farExponent from 0
}

// farExponent stands for all exponents beyond it: no such number fits anything.
const farExponent = 1 << 30

// parseDecimal splits s, a JSON number, into digits and exponent. The digits are in scratch.
func parseDecimal(scratch, s []byte) decimal {
	d := decimal{digits: scratch[:0]}
	i, point := 0, -1
	if s[0] == '-' {
		d.negative, i = true, 1
	}
	for ; i < len(s) && s[i]|0x20 != 'e'; i++ {
		if s[i] == '.' {
			point = len(d.digits)
		} else if point >= 0 || len(d.digits) > 0 || s[i] != '0' {
			d.digits = append(d.digits, s[i])
		}
	}
	if point >= 0 {
		d.exponent = point - len(d.digits)
	}
	if i < len(s) {
		e, err := strconv.Atoi(string(s[i+1:]))
		if err != nil || e > farExponent || e < -farExponent {
			e = farExponent
			if s[i+1] == '-' {
				e = -farExponent
			}
		}
		d.exponent = max(min(d.exponent+e, farExponent), -farExponent)
	}
	for len(d.digits) > 0 && d.digits[0] == '0' {
		d.digits = d.digits[1:]
	}
	for len(d.digits) > 0 && d.digits[len(d.digits)-1] == '0' {
		d.digits = d.digits[:len(d.digits)-1]
		d.exponent++
	}
	if len(d.digits) == 0 {
		d.exponent = 0
	}
	return d
}

// parseInt returns the integer that s, a JSON number, is, whole or with a fraction of zeros
// or an exponent: 30, 30.0 and 3e1 are the same. ok is false if it is none, or none that 64
// bits hold.
func parseInt(s []byte) (n int64, ok bool) {
	i := 0
	if s[0] == '-' {
		i = 1
	}
	if len(s)-i <= 18 {
		for ; i < len(s); i++ {
			if s[i]-'0' > 9 {
				return parseDecimalInt(s)
			}
			n = n*10 + int64(s[i]-'0')
		}
		if s[0] == '-' {
			n = -n
		}
		return n, true
	}
	return parseDecimalInt(s)
}

func parseDecimalInt(s []byte) (int64, bool) {
	var scratch [64]byte
	d := parseDecimal(scratch[:0], s)
	if d.exponent < 0 || len(d.digits)+d.exponent > 19 {
		return 0, false
	}
	b := make([]byte, 0, 24)
	if d.negative {
		b = append(b, '-')
	}
	b = append(b, d.digits...)
	for range d.exponent {
		b = append(b, '0')
	}
	if len(d.digits) == 0 {
		return 0, true
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil
}

// maxDigits is how many digits and zeros a number has that is compared with others exactly.
const maxDigits = 1000

// parseRat returns the number that s is. ok is false if it is too long, or too far from 1.
func parseRat(s []byte) (r *big.Rat, ok bool) {
	d := parseDecimal(make([]byte, 0, 64), s)
	if len(d.digits) > maxDigits || d.exponent > maxDigits || d.exponent < -maxDigits {
		return nil, false
	}
	n := new(big.Int)
	if len(d.digits) > 0 {
		n.SetString(string(d.digits), 10)
	}
	if d.negative {
		n.Neg(n)
	}
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(d.exponent, -d.exponent))), nil)
	if d.exponent < 0 {
		return new(big.Rat).SetFrac(n, power), true
	}
	return new(big.Rat).SetInt(n.Mul(n, power)), true
}

// isInteger reports whether s, a JSON number, is an integer of any length.
func isInteger(s []byte) bool {
	for _, c := range s {
		if c == '.' || c|0x20 == 'e' {
			var scratch [64]byte
			d := parseDecimal(scratch[:0], s)
			return d.exponent >= 0
		}
	}
	return true
}

// compareInt compares s, a JSON number without an exponent and with up to 18 digits before
// the point, with an integer. ok is false if s is another number.
func compareInt(s []byte, with int64) (result int, ok bool) {
	i, sign := 0, int64(1)
	if s[0] == '-' {
		i, sign = 1, -1
	}
	from := i
	var n int64
	for ; i < len(s) && s[i]-'0' <= 9; i++ {
		n = n*10 + int64(s[i]-'0')
	}
	if i-from > 18 {
		return 0, false
	}
	fraction := false
	if i < len(s) && s[i] == '.' {
		for i++; i < len(s) && s[i]-'0' <= 9; i++ {
			fraction = fraction || s[i] != '0'
		}
	}
	if i < len(s) {
		return 0, false
	}
	switch n *= sign; {
	case n < with:
		return -1, true
	case n > with:
		return 1, true
	case fraction:
		return int(sign), true
	}
	return 0, true
}

// parseUint is parseInt of an integer that is not negative.
func parseUint(s []byte) (uint64, bool) {
	if n, ok := parseInt(s); ok {
		return uint64(n), n >= 0
	}
	var scratch [64]byte
	d := parseDecimal(scratch[:0], s)
	if d.negative || d.exponent < 0 || len(d.digits)+d.exponent > 20 {
		return 0, false
	}
	for range d.exponent {
		d.digits = append(d.digits, '0')
	}
	n, err := strconv.ParseUint(string(d.digits), 10, 64)
	return n, err == nil
}
