//go:build unix

package awsiam

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kafka-upstream/internal/test/testcert"
)

// inAnHour is when the credentials of the stand-ins expire.
func inAnHour() string { return time.Now().Add(time.Hour).UTC().Format(time.RFC3339) }

func jsonAnswer(expires string) string {
	return fmt.Sprintf(`{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":%q,"SecretAccessKey":%q,"Token":%q,"Expiration":%q}`, testID, testSecret, testToken, expires)
}

func xmlAnswer(expires string) string {
	return fmt.Sprintf(`<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
<SubjectFromWebIdentityToken>system:serviceaccount:default:kong</SubjectFromWebIdentityToken><Credentials><SessionToken>%s</SessionToken>
<SecretAccessKey>%s</SecretAccessKey><Expiration>%s</Expiration><AccessKeyId>%s</AccessKeyId></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, testToken, testSecret, expires, testID)
}

func writeToken(t *testing.T, token string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// endpoint is a source of a stand-in: how to make one, and what its answer with credentials
// that expire at that time is.
type endpoint struct {
	source func(t *testing.T, handler http.Handler) source
	answer func(expires string) string
}

const webToken = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJrb25nIn0.c2lnbmF0dXJl"

var endpoints = map[string]endpoint{
	"STS": {func(t *testing.T, handler http.Handler) source {
		ca := testcert.New("a CA")
		server := httptest.NewUnstartedServer(handler)
		server.TLS = ca.ServerConfig("127.0.0.1")
		server.StartTLS()
		t.Cleanup(server.Close)
		file := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(file, ca.PEM(), 0o600); err != nil {
			t.Fatal(err)
		}
		w, err := newWebIdentity(Options{RoleARN: testRole, WebIdentityTokenFile: writeToken(t, webToken+"\n"), Region: "eu-central-1"}, file)
		if err != nil {
			t.Fatal(err)
		}
		if w.url != "https://sts.eu-central-1.amazonaws.com/" {
			t.Errorf("STS is at %s", w.url)
		}
		w.url = server.URL + "/sts"
		return w
	}, xmlAnswer},
	"container": {func(t *testing.T, handler http.Handler) source {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		return newContainer(Options{ContainerURI: server.URL + "/v1/credentials?x=y", ContainerTokenFile: writeToken(t, webToken)})
	}, jsonAnswer},
	"EC2": {func(t *testing.T, handler http.Handler) source {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") == "60":
				fmt.Fprint(w, "the-session")
			case r.Header.Get("X-aws-ec2-metadata-token") != "the-session":
				w.WriteHeader(http.StatusUnauthorized)
			case r.URL.Path == "/latest/meta-data/iam/security-credentials/":
				fmt.Fprint(w, "gateway\n")
			default:
				handler.ServeHTTP(w, r)
			}
		}))
		t.Cleanup(server.Close)
		i := newInstance()
		i.url = server.URL
		return i
	}, jsonAnswer},
}

func fetch(t *testing.T, s source) (credentials, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return s.fetch(ctx)
}

func reply(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// wantFailure fails unless the error is one line with all the texts and without a secret.
func wantFailure(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", texts)
		return
	}
	message := (&CredentialsError{err}).Error()
	for _, text := range texts {
		if !strings.Contains(message, text) {
			t.Errorf("error %q lacks %q", message, text)
		}
	}
	for _, text := range []string{testSecret, testToken, webToken, "the-session", "\n"} {
		if strings.Contains(message, text) {
			t.Errorf("error %q has %q", message, text)
		}
	}
}

func TestEachSourceGetsCredentials(t *testing.T) {
	expires := inAnHour()
	want := map[string]string{
		"STS":       "POST /sts Action=AssumeRoleWithWebIdentity&RoleArn=" + url.QueryEscape(testRole) + "&RoleSessionName=kafka-upstream&Version=2011-06-15&WebIdentityToken=" + webToken + " ",
		"container": "GET /v1/credentials?x=y  " + webToken,
		"EC2":       "GET /latest/meta-data/iam/security-credentials/gateway  ",
	}
	for name, e := range endpoints {
		s := e.source(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if got := fmt.Sprintf("%s %s %s %s", r.Method, r.RequestURI, body, r.Header.Get("Authorization")); got != want[name] {
				t.Errorf("%s: got %s, want %s", name, got, want[name])
			}
			fmt.Fprint(w, e.answer(expires))
		}))
		c, err := fetch(t, s)
		if err != nil || c.accessKeyID != testID || c.secretAccessKey != testSecret || c.sessionToken != testToken || c.expires.UTC().Format(time.RFC3339) != expires {
			t.Errorf("%s: got other credentials, %v", name, err)
		}
	}
}

func TestSourceThatFailsSaysWhy(t *testing.T) {
	redirect := http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect)
	hangUp := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for name, e := range endpoints {
		for fault, test := range map[string]struct {
			handler http.Handler
			want    string
		}{
			"empty":       {reply(200, ""), "cannot be used: its answer "},
			"garbage":     {reply(200, "<html>\x00"+testSecret), "cannot be used: its answer "},
			"an array":    {reply(200, `["`+testSecret+`"]`), "cannot be used: its answer "},
			"incomplete":  {reply(200, strings.Replace(e.answer(inAnHour()), testID, "", 1)), "cannot be used: its answer has no usable access key ID"},
			"no secret":   {reply(200, strings.Replace(e.answer(inAnHour()), testSecret, "", 1)), "cannot be used: its answer has no usable secret access key"},
			"line feed":   {reply(200, strings.Replace(e.answer(inAnHour()), testToken, "a b", 1)), "cannot be used: its answer has no usable session token"},
			"no expiry":   {reply(200, e.answer("soon")), "cannot be used: its answer has no usable time of expiry"},
			"expired":     {reply(200, e.answer("2015-08-30T12:36:00Z")), "cannot be used: its credentials expired at 2015-08-30T12:36:00Z: check the clock"},
			"huge":        {reply(200, strings.Repeat(" ", maxSize)+e.answer(inAnHour())), "sent more than 65536 bytes"},
			"redirect":    {redirect, "answered with status 307"},
			"refusal":     {reply(403, ""), "answered with status 403"},
			"huge status": {reply(500, strings.Repeat("x", 2*maxSize)), "sent more than 65536 bytes"},
			"hangs up":    {hangUp, "cannot be reached: "},
		} {
			t.Run(name+" "+fault, func(t *testing.T) {
				_, err := fetch(t, e.source(t, test.handler))
				wantFailure(t, err, test.want)
			})
		}
	}
}

func TestSourceThatDoesNotAnswerIsGivenUp(t *testing.T) {
	for name, e := range endpoints {
		for _, header := range []bool{false, true} {
			arrived := make(chan struct{})
			s := e.source(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // so that the end of the connection is seen
				if header {
					_ = http.NewResponseController(w).Flush()
				}
				close(arrived)
				<-r.Context().Done()
			}))
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-arrived; cancel() }()
			if _, err := s.fetch(ctx); err == nil {
				t.Errorf("%s: no error", name)
			}
			past, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
			_, err := s.fetch(past)
			wantFailure(t, err, "did not answer in time")
			cancel()
		}
	}
}

// A peer that accepts connections and stays silent would otherwise keep one for each attempt.
func TestConnectionOfAnAttemptThatWasGivenUpIsClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w, err := newWebIdentity(Options{RoleARN: "arn:aws:iam::123456789012:role/gateway", WebIdentityTokenFile: writeToken(t, webToken), Region: "eu-central-1"}, "")
	if err != nil {
		t.Fatal(err)
	}
	w.url = "https://" + l.Addr().String() + "/"
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error, 1)
	go func() {
		_, err := w.fetch(ctx)
		given <- err
	}()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	if err := <-given; err == nil {
		t.Error("no error")
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection stays open")
	}
}

func TestSourceThatCannotBeReachedIsNamed(t *testing.T) {
	for name, e := range endpoints {
		s := e.source(t, reply(200, ""))
		address := "127.0.0.1:1" // nothing listens on it
		switch s := s.(type) {
		case *webIdentity:
			s.url = "https://" + address + "/"
		case *container:
			s.url.Host = address
		case *instance:
			s.url = "http://" + address
		}
		_, err := fetch(t, s)
		wantFailure(t, err, address, "cannot be reached: ", "connection refused")
		if t.Failed() {
			t.Log(name)
		}
	}
}

func TestReasonOfARefusalIsToldWithoutTheToken(t *testing.T) {
	denied := "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity\n" + webToken + "</Message></Error></ErrorResponse>"
	_, err := fetch(t, endpoints["STS"].source(t, reply(403, denied)))
	wantFailure(t, err, "the role "+testRole+" and the token in /", "answered with status 403: AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity", "[redacted]")
	_, err = fetch(t, endpoints["container"].source(t, reply(404, "(ResourceNotFoundException): "+strings.Repeat("a", 5000)+webToken)))
	wantFailure(t, err, "the container endpoint at 127.0.0.1:", "answered with status 404: (ResourceNotFoundException)")
}

func TestTokenFileThatCannotBeUsedIsNamed(t *testing.T) {
	for content, want := range map[string]string{
		"":                              "it does not hold a token",
		" \n":                           "it does not hold a token",
		"a\nX-Injected: b":              "it does not hold a token",
		strings.Repeat("a", maxSize+1):  "it is larger than 65536 bytes",
		strings.Repeat("\n", maxSize+1): "it is larger than 65536 bytes",
	} {
		name := writeToken(t, content)
		_, err := readToken(name)
		wantFailure(t, err, "the token file "+name+" cannot be read: "+want)
	}
	dir := t.TempDir()
	if err := syscall.Mkfifo(dir+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, dir + "/pipe", "/dev/zero"} {
		_, err := readToken(name)
		wantFailure(t, err, "the token file "+name+" cannot be read: it is not a regular file")
	}
	s := endpoints["container"].source(t, reply(200, "")).(*container)
	s.tokenFile = dir + "/none"
	_, err := fetch(t, s)
	wantFailure(t, err, "the token file "+dir+"/none cannot be read: no such file or directory")
}

// The token of a service account is replaced long before it expires.
func TestTokenFileIsReadForEachRequest(t *testing.T) {
	var got []string
	s := endpoints["container"].source(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		fmt.Fprint(w, jsonAnswer(inAnHour()))
	})).(*container)
	for _, token := range []string{"one", "two"} {
		if err := os.WriteFile(s.tokenFile, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := fetch(t, s); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Join(got, " ") != "one two" {
		t.Errorf("got %q", got)
	}
}

func TestInstanceWithoutVersion2IsRefused(t *testing.T) {
	const where = "authentication.aws and the environment have no keys, no web identity and no container endpoint, and the metadata service of EC2 at 127.0.0.1:"
	for _, test := range []struct {
		status int
		body   string
		want   string
	}{
		{http.StatusNotFound, "", "does not have version 2 (IMDSv2), which is required: it answered with status 404"},
		{http.StatusMethodNotAllowed, "", "does not have version 2 (IMDSv2)"},
		{http.StatusForbidden, "", "is disabled: enable it, with version 2 (IMDSv2)"},
		{http.StatusOK, "", "cannot be used: its answer is not a token"},
		{http.StatusOK, "a\r\nb", "cannot be used: its answer is not a token"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPut { // version 1
				t.Errorf("%s %s without a session", r.Method, r.URL)
			}
			w.WriteHeader(test.status)
			fmt.Fprint(w, test.body)
		}))
		i := newInstance()
		i.url = server.URL
		_, err := fetch(t, i)
		wantFailure(t, err, where, test.want)
		server.Close()
	}
}

func TestInstanceWhoseRoleCannotBeUsedIsRefused(t *testing.T) {
	for _, test := range []struct {
		status     int
		role, want string
	}{
		{http.StatusNotFound, "", "has no role: give the instance a profile with one"},
		{http.StatusUnauthorized, "", "answered with status 401"},
		{http.StatusOK, "", "cannot be used: its answer is not the name of a role"},
		{http.StatusOK, "../../user-data", "cannot be used: its answer is not the name of a role"},
		{http.StatusOK, "one\ntwo", "cannot be used: its answer is not the name of a role"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				fmt.Fprint(w, "the-session")
				return
			}
			if r.URL.Path != "/latest/meta-data/iam/security-credentials/" {
				t.Errorf("GET %s", r.URL)
			}
			w.WriteHeader(test.status)
			fmt.Fprint(w, test.role)
		}))
		i := newInstance()
		i.url = server.URL
		_, err := fetch(t, i)
		wantFailure(t, err, test.want)
		server.Close()
	}
}

func TestInstanceThatIsTooManyHopsAwaySaysSo(t *testing.T) {
	i := newInstance()
	past, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	_, err := i.fetch(past)
	wantFailure(t, err, "169.254.169.254 did not answer in time: on EC2, in a container, raise the instance's hop limit to 2")
}

func TestSTSOfChinaIsInItsDomain(t *testing.T) {
	if got := stsURL("cn-north-1"); got != "https://sts.cn-north-1.amazonaws.com.cn/" {
		t.Errorf("got %s", got)
	}
}
