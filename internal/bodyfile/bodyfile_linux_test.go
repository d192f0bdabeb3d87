package bodyfile

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"kafka-upstream/internal/request"
)

// Files of the kernel's say a size that is none, and some cannot be read to an end.
func TestFilesOfTheKernelAreNoBodies(t *testing.T) {
	for _, path := range []string{
		"/proc/self/status", "/proc/self/environ", "/proc/self/mem", "/proc/self/pagemap", "/proc/self/timers",
		fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()), "/proc/self/fd/0", "/proc/self/exe", "/proc/kmsg",
		"/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled",
	} {
		r, err := readPath(t, path, aLender{})
		if _, ok := errors.AsType[*request.BodyError](err); !ok || len(r) > 0 {
			t.Errorf("%s: a body of %d bytes, %v", path, len(r), err)
		}
	}
}
