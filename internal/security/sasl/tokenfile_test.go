package sasl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kafka-upstream/internal/kafkaerr"
)

// file returns the path of a new file.
func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTokenFileIsReadAtEachLogin(t *testing.T) {
	path := file(t, "one")
	m := newMechanism(t, Credentials{Mechanism: "OAUTHBEARER", TokenFile: path})
	for content, token := range map[string]string{"two": "two", "three\n": "three", "four\r\n": "four", "five\n\n": "five", strings.Repeat("a", maxTokenFile): strings.Repeat("a", maxTokenFile)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		start(t, m, "n,,\x01auth=Bearer "+token+"\x01\x01")
	}
}

// Kubernetes exchanges a projected token by renaming a symbolic link to its directory.
func TestProjectedTokenIsFollowed(t *testing.T) {
	dir := t.TempDir()
	project := func(version, token string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, version, "token"), []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		next := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(version, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	project("..2026_1", "one")
	path := filepath.Join(dir, "token")
	if err := os.Symlink(filepath.Join("..data", "token"), path); err != nil {
		t.Fatal(err)
	}
	m := newMechanism(t, Credentials{Mechanism: "OAUTHBEARER", TokenFile: path})
	start(t, m, "n,,\x01auth=Bearer one\x01\x01")
	project("..2026_2", "two")
	start(t, m, "n,,\x01auth=Bearer two\x01\x01")
}

func TestTokenFileThatCannotBeUsedIsNamedWithTheCure(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct{ path, want string }{
		"missing":        {filepath.Join(dir, "gone"), "no such file or directory: mount it where the plugin server runs"},
		"directory":      {dir, "it is not a regular file: name a file that holds the token alone"},
		"device":         {"/dev/zero", "it is not a regular file"},
		"empty":          {file(t, ""), "it is empty"},
		"empty line":     {file(t, "\n"), "it is empty"},
		"too large":      {file(t, strings.Repeat("a", maxTokenFile+1)), "it has more than 65536 bytes"},
		"not the token":  {file(t, `{"access_token":"s3cr3t"}`), "it does not hold a bearer token alone"},
		"several tokens": {file(t, "s3cr3t\ns3cr3t\n"), "it does not hold a bearer token alone"},
		"binary":         {file(t, "s3cr3t\x00"), "it does not hold a bearer token alone"},
	} {
		m := newMechanism(t, Credentials{Mechanism: "OAUTHBEARER", TokenFile: tc.path}).(TokenMechanism)
		err := m.Ready(t.Context())
		if err == nil || kafkaerr.Of(err) != kafkaerr.NoToken || strings.Contains(err.Error(), "s3cr3t") ||
			!strings.HasPrefix(err.Error(), `could not get token from file "`+tc.path+`" (authentication.oauthbearer.token_file): `+tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
