// Command notices writes THIRD_PARTY_NOTICES: the licences of all that is linked
// into the program, as its modules have them. Run it at the repository's root.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const output = "THIRD_PARTY_NOTICES"

func main() {
	b, err := notices(".")
	if err == nil {
		err = os.WriteFile(output, b, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

// isLicence matches files that are licences, or that licences require to be passed on.
var isLicence = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|notice|patents)([-.].*)?$`)

// notice is a text, and the files that contain it, by module.
type notice struct {
	text  string
	files []string
}

// notices returns the contents of the file for the repository at root.
func notices(root string) ([]byte, error) {
	dirs, err := linked(root)
	if err != nil {
		return nil, err
	}
	var all []*notice
	add := func(name, file string) error {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text := strings.TrimSpace(strings.ReplaceAll(string(b), "\r\n", "\n"))
		for _, n := range all {
			if n.text == text {
				n.files = append(n.files, name)
				return nil
			}
		}
		all = append(all, &notice{text, []string{name}})
		return nil
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("asking Go for its own directory: %w", err)
	}
	for _, name := range []string{"LICENSE", "PATENTS"} {
		if err := add("Go's standard library: "+name, filepath.Join(strings.TrimSpace(string(goroot)), name)); err != nil {
			return nil, err
		}
	}
	for _, d := range dirs {
		found := 0
		for _, dir := range d.dirs {
			entries, err := os.ReadDir(dir)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				if !e.Type().IsRegular() || !isLicence.MatchString(e.Name()) {
					continue
				}
				file := filepath.Join(dir, e.Name())
				rel, err := filepath.Rel(d.root, file)
				if err != nil {
					return nil, err
				}
				if err := add(d.module+": "+filepath.ToSlash(rel), file); err != nil {
					return nil, err
				}
				found++
			}
		}
		if found == 0 {
			return nil, fmt.Errorf("%s has no licence", d.module)
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "Third-party notices\n\nThe program kafka-upstream contains the software that is named below, each under the\nlicence that follows its names. `make notices` writes this file.\n")
	for _, n := range all {
		fmt.Fprintf(&b, "\n%s\n\n%s\n\n%s\n", strings.Repeat("=", 80), strings.Join(n.files, "\n"), n.text)
	}
	return b.Bytes(), nil
}

// module is a linked module, with its directories that hold linked packages, and their
// parents.
type module struct {
	module, root string
	dirs         []string
}

// linked returns the modules that are linked into the program on Linux, by path.
func linked(root string) ([]*module, error) {
	cmd := exec.Command("go", "list", "-deps", "-json=Dir,Module", "./cmd/kafka-upstream")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("asking Go what is linked: %w", err)
	}
	modules := make(map[string]*module)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir    string
			Module *struct {
				Path, Dir string
				Main      bool
			}
		}
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if p.Module == nil || p.Module.Main {
			continue
		}
		m := modules[p.Module.Path]
		if m == nil {
			m = &module{module: p.Module.Path, root: p.Module.Dir}
			modules[p.Module.Path] = m
		}
		for dir := p.Dir; strings.HasPrefix(dir, m.root); dir = filepath.Dir(dir) {
			m.dirs = append(m.dirs, dir)
		}
	}
	var all []*module
	for _, m := range modules {
		slices.Sort(m.dirs)
		m.dirs = slices.Compact(m.dirs)
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *module) int { return strings.Compare(a.module, b.module) })
	return all, nil
}
