package security

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"

	"kafka-upstream/internal/test/testcert"
)

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTLSIsStrictByDefault(t *testing.T) {
	config, err := tlsConfig("", false)
	if err != nil {
		t.Fatal(err)
	}
	if config.MinVersion != tls.VersionTLS12 || config.InsecureSkipVerify || config.RootCAs != nil ||
		config.ServerName != "" || config.GetClientCertificate != nil || config.ClientSessionCache != nil {
		t.Errorf("got %+v", config)
	}
}

func TestSkipVerifyTrustsAnyBroker(t *testing.T) {
	// The CA file is not needed, so it need not exist.
	config, err := tlsConfig("/nowhere/ca.pem", true)
	if err != nil {
		t.Fatal(err)
	}
	if !config.InsecureSkipVerify || config.MinVersion != tls.VersionTLS12 {
		t.Errorf("got %+v", config)
	}
}

func TestCAFileIsTrustedInsteadOfTheSystem(t *testing.T) {
	one, two := testcert.New("one"), testcert.New("two")
	bundle := append(one.PEM(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"...)
	bundle = append(bundle, two.PEM()...)
	config, err := tlsConfig(write(t, "ca.pem", bundle), false)
	if err != nil {
		t.Fatal(err)
	}
	want := one.Pool()
	want.AppendCertsFromPEM(two.PEM())
	if !config.RootCAs.Equal(want) {
		t.Error("the pool is not the file's certificates")
	}
}

func TestCAFileThatCannotBeUsedIsOneSentence(t *testing.T) {
	dir := t.TempDir()
	key := write(t, "key.pem", testcert.New("a CA").Client("x").Key)
	empty := write(t, "empty.pem", nil)
	for _, test := range []struct{ file, want string }{
		{dir + "/none.pem", "the CA file " + dir + "/none.pem cannot be read: no such file or directory"},
		{dir, "the CA file " + dir + " cannot be read: is a directory"},
		{empty, "the CA file " + empty + " holds no PEM certificate that can be used"},
		{key, "the CA file " + key + " holds no PEM certificate that can be used"},
	} {
		if config, err := tlsConfig(test.file, false); err == nil || err.Error() != test.want || config != nil {
			t.Errorf("got %v, %v, want %s", config, err, test.want)
		}
	}
}
