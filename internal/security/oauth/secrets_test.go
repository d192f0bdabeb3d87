package oauth

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// A token endpoint that echoes all it was sent, in each of several ways.
func TestSecretsThatAreEchoedAreShownNowhere(t *testing.T) {
	for name, echo := range map[string]func(w http.ResponseWriter, sent string){
		"description": func(w http.ResponseWriter, sent string) {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_request", "error_description": sent})
		},
		"code, in quotes": func(w http.ResponseWriter, sent string) {
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": fmt.Sprintf("%q", sent)})
		},
		"location": func(w http.ResponseWriter, sent string) {
			w.Header().Set("Location", "https://elsewhere/?"+url.QueryEscape(sent))
			w.WriteHeader(http.StatusFound)
		},
		"status line": func(w http.ResponseWriter, sent string) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "HTTP/1.1 4xx %s\r\n\r\n", sent)
		},
		"header": func(w http.ResponseWriter, sent string) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s\r\n\r\n", sent)
		},
		"body": func(w http.ResponseWriter, sent string) { _, _ = io.WriteString(w, sent) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm()
				var all []string
				for _, values := range []map[string][]string{r.PostForm, r.Header, {"URI": {r.RequestURI}}} {
					for name, v := range values {
						all = append(all, name+" is "+strings.Join(v, " and "))
					}
				}
				echo(w, strings.Join(all, ", "))
			}))
			defer server.Close()
			for _, method := range []string{"", methodBasic, methodPost, methodJWT, methodNone} {
				for _, http10 := range []bool{false, true} {
					o := full()
					o.TokenURL, o.AuthMethod, o.HTTP10, o.Timeout = server.URL+"/token?key=queryS3cret", method, http10, 0
					var log logbook
					s := open(t, o, Env{Log: log.logger()})
					_, err := s.Token(t.Context())
					if err == nil {
						t.Fatal("there was a token")
					}
					s.Close()
					wantNoSecret(t, "the error", fmt.Sprintf("%v %+v %#v %s %q", err, err, err, err, err))
					wantNoSecret(t, "the log", log.String())
					if strings.Contains(err.Error(), "eyJ") {
						t.Errorf("the error shows the assertion: %v", err)
					}
				}
			}
		})
	}
}
