package memory

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is the flag.Value of a number of bytes, with or without a unit (KiB, MiB, GiB, TiB),
// such as 512MiB.
type Size int64

var units = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// String implements flag.Value. It returns s in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range units[:len(units)-1] {
		if s != 0 && int64(s)%u.bytes == 0 {
			return fmt.Sprintf("%d%s", int64(s)/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Set implements flag.Value.
func (s *Size) Set(text string) error {
	number, factor := text, int64(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, factor = n, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return errors.New("want a number of bytes, such as 512MiB")
	}
	*s = Size(n * factor)
	return nil
}
