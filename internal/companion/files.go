package companion

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed lua/handler.lua lua/schema.lua
var lua embed.FS

// DefaultDir is on the path on which Kong looks for plugins.
const DefaultDir = "/usr/local/share/lua/5.1"

// pluginDir is where Kong looks for the plugin's files, below a directory of its path.
const pluginDir = "kong/plugins/kafka-upstream"

// mark begins the files, by which they are known again.
var mark = []byte(`-- Written by "kafka-upstream -companion"`)

// WriteFiles writes the handler's files below dir, for Kong to find them, and returns their
// paths. It overwrites those of another release, and writes nothing if one of them is not of
// kafka-upstream.
func WriteFiles(dir, release string) ([]string, error) {
	var paths []string
	for _, name := range []string{"handler.lua", "schema.lua"} {
		path := filepath.Join(dir, filepath.FromSlash(pluginDir), name)
		b, err := os.ReadFile(path)
		switch {
		case err == nil && !bytes.HasPrefix(b, mark):
			return nil, fmt.Errorf("%s exists and was not written by kafka-upstream: remove it, or name another directory", path)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("looking for earlier files: %w", err)
		}
		paths = append(paths, path)
	}
	if err := os.MkdirAll(filepath.Dir(paths[0]), 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of the companion handler: %w", err)
	}
	for _, path := range paths {
		if err := writeFile(path, File(filepath.Base(path), release)); err != nil {
			return nil, fmt.Errorf("writing the companion handler: %w", err)
		}
	}
	return paths, nil
}

// File returns a file of the handler, handler.lua or schema.lua.
func File(name, release string) []byte {
	b, err := lua.ReadFile("lua/" + name)
	if err != nil {
		panic(err) // there is no such file
	}
	return bytes.ReplaceAll(b, []byte("@RELEASE@"), []byte(release))
}

// writeFile replaces a file at once: Kong may be reading it.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".kafka-upstream-")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
