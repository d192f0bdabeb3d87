package memory

import (
	"os"
	"path/filepath"
	"testing"
)

const machine = "MemTotal:       24612345 kB\nMemFree:        1 kB\n"

func TestAvailableIsTheLeastThatBounds(t *testing.T) {
	const total = 24612345 << 10
	for name, c := range map[string]struct {
		files        map[string]string
		addressSpace int64
		want         int64
	}{
		"nothing is known":                         {nil, 0, 0},
		"the machine":                              {map[string]string{"proc/meminfo": machine}, 0, total},
		"a limited address space":                  {map[string]string{"proc/meminfo": machine}, 1 << 30, 1 << 30},
		"version 2":                                {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/kong\n", "sys/fs/cgroup/kong/memory.max": "1073741824\n"}, 0, 1 << 30},
		"version 2, by a group above":              {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/pod/kong\n", "sys/fs/cgroup/pod/kong/memory.max": "max\n", "sys/fs/cgroup/pod/memory.max": "268435456\n"}, 0, 256 << 20},
		"version 2, in a container":                {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "536870912\n"}, 0, 512 << 20},
		"version 2, with a path of the host":       {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/memory.max": "536870912\n"}, 0, 512 << 20},
		"version 1":                                {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/docker/b\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n"}, 0, 1 << 30},
		"version 1, without a limit":               {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 0, total},
		"a limit beyond what the machine has":      {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1099511627776\n"}, 0, total},
		"what is no number":                        {map[string]string{"proc/meminfo": "MemTotal: much kB\n", "proc/self/cgroup": "\n:::\nx\n0::/\n", "sys/fs/cgroup/memory.max": "-5\n"}, 0, 0},
		"an address space that is used up already": {map[string]string{"proc/meminfo": machine}, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for path, content := range c.files {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if n, source := (files{root}).available(c.addressSpace); n != c.want || (source == "") != (n == 0) {
				t.Errorf("%d bytes by %q, want %d", n, source, c.want)
			}
		})
	}
}

func TestSizeReadsUnits(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "1000": 1000, "64KiB": 64 << 10, "512MiB": 512 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40, "7B": 7} {
		var s Size
		if err := s.Set(text); err != nil || s != want {
			t.Errorf("%s is %d, %v", text, s, err)
		}
		var again Size
		if err := again.Set(s.String()); err != nil || again != s {
			t.Errorf("%s printed is %s, which is %d", text, s, again)
		}
	}
	for _, text := range []string{"", "-1", "1.5GiB", "1GB", "GiB", "9999999TiB", "0x10"} {
		var s Size
		if s.Set(text) == nil {
			t.Errorf("%q is %d", text, s)
		}
	}
}
