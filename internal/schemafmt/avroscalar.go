package schemafmt

import (
	"encoding/binary"
	"math"
	"math/big"
	"strconv"
	"unicode/utf8"
)

func (w *avroWalk) integer(n *avroNode, v *value) bool {
	if v.kind != jsonNumber {
		return w.fail("must be an integer", "")
	}
	i, ok := parseInt(w.raw(v))
	if n.kind == avroInt && (!ok || i != int64(int32(i))) {
		return w.fail("must be an integer of 32 bits", "")
	}
	if !ok {
		return w.fail("must be an integer of 64 bits", "")
	}
	w.dst = binary.AppendVarint(w.dst, i)
	return true
}

func (w *avroWalk) float(n *avroNode, v *value) bool {
	bits := 64
	if n.kind == avroFloat {
		bits = 32
	}
	var f float64
	switch v.kind {
	case jsonNumber:
		var err error
		if f, err = strconv.ParseFloat(string(w.raw(v)), bits); err != nil {
			return w.fail("must be a number in the range of the type", n.name)
		}
	case jsonText:
		switch string(w.raw(v)) {
		case "NaN":
			f = math.NaN()
		case "Infinity", "INF":
			f = math.Inf(1)
		case "-Infinity", "-INF":
			f = math.Inf(-1)
		default:
			return w.fail("must be a number", "")
		}
	default:
		return w.fail("must be a number", "")
	}
	if bits == 32 {
		w.dst = binary.LittleEndian.AppendUint32(w.dst, math.Float32bits(float32(f)))
	} else {
		w.dst = binary.LittleEndian.AppendUint64(w.dst, math.Float64bits(f))
	}
	return true
}

// bytes encodes bytes and fixed: a string of the characters U+0000 to U+00FF, each of which is
// a byte. A decimal may be a number as well.
func (w *avroWalk) bytes(n *avroNode, v *value) bool {
	if v.kind == jsonNumber && n.logical == "decimal" {
		return w.decimal(n, v)
	}
	if v.kind != jsonText {
		return w.fail("must be a string of bytes", "")
	}
	if !w.spend(int(v.end-v.start) / 4) {
		return false
	}
	w.scratch = w.appendString(w.scratch[:0], v)
	b := w.scratch[:0] // a character is as long as its byte, or longer
	for s := w.scratch; len(s) > 0; {
		r, size := utf8.DecodeRune(s)
		if r > 0xff {
			return w.fail("must be a string of bytes, of characters up to U+00FF", "")
		}
		b = append(b, byte(r))
		s = s[size:]
	}
	if n.kind == avroBytes {
		w.dst = appendText(w.dst, b)
		return true
	}
	if len(b) != n.size {
		return w.fail("must be a string of "+strconv.Itoa(n.size)+" bytes", "")
	}
	w.dst = append(w.dst, b...)
	return true
}

// decimal encodes a number as the integer that it is in units of the scale.
func (w *avroWalk) decimal(n *avroNode, v *value) bool {
	var scratch [64]byte
	d := parseDecimal(scratch[:0], w.raw(v))
	zeros := d.exponent + n.scale
	if len(d.digits) == 0 {
		zeros = 0
	}
	if zeros < 0 {
		return w.fail("must have at most "+strconv.Itoa(n.scale)+" decimal places", "")
	}
	if len(d.digits)+zeros > n.precision {
		return w.fail("must have at most "+strconv.Itoa(n.precision)+" digits", "")
	}
	for range zeros {
		d.digits = append(d.digits, '0')
	}
	i := new(big.Int)
	if len(d.digits) > 0 {
		i.SetString(string(d.digits), 10)
	}
	if d.negative {
		i.Neg(i)
	}
	b := twosComplement(i)
	if n.kind == avroBytes {
		w.dst = appendText(w.dst, b)
		return true
	}
	if len(b) > n.size {
		return w.fail("must fit "+strconv.Itoa(n.size)+" bytes", "")
	}
	if len(w.dst)+n.size > w.limit { // before it takes memory: a size is whatever a schema says
		w.exhausted = true
		return w.fail(tooLarge, "")
	}
	var fill byte
	if i.Sign() < 0 {
		fill = 0xff
	}
	for range n.size - len(b) {
		w.dst = append(w.dst, fill)
	}
	w.dst = append(w.dst, b...)
	return true
}

// twosComplement returns i in as few bytes as possible, big endian.
func twosComplement(i *big.Int) []byte {
	if i.Sign() >= 0 {
		b := i.Bytes()
		if len(b) == 0 || b[0] >= 0x80 {
			b = append([]byte{0}, b...)
		}
		return b
	}
	// -i-1 has the opposite bits.
	b := new(big.Int).Not(i).Bytes()
	if len(b) == 0 || b[0] >= 0x80 {
		b = append([]byte{0}, b...)
	}
	for k := range b {
		b[k] = ^b[k]
	}
	return b
}
