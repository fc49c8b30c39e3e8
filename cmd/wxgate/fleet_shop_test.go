package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// fleetShop says whom it is shown to, by what the assertion says, which it
// verifies as docs/backends.md shows.
type fleetShop struct {
	server   *httptest.Server
	verifier *verifier

	mu      sync.Mutex
	refused []string       // what was
	keys    map[string]int // of what was not, with how many assertions each
}

func newFleetShop(f *fleet) *fleetShop {
	s := &fleetShop{keys: map[string]int{}}
	keys := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "shop.test"})
		},
		Transport: f.transport(),
	})
	f.t.Cleanup(keys.Close)
	s.verifier = &verifier{t: f.t, jwksURL: keys.URL + "/wxgate/jwks.json"}
	s.verifier.start((*exec.Cmd).Start)
	s.server = httptest.NewServer(http.HandlerFunc(s.serve))
	f.t.Cleanup(s.server.Close)
	return s
}

func (s *fleetShop) serve(w http.ResponseWriter, r *http.Request) {
	sent := strings.Join(r.Header.Values("X-User-Assertion"), "\t")
	if sent == "" {
		_, _ = io.WriteString(w, "nobody")
		return
	}
	who := r.Header.Get("X-User-Id") + " " + r.Header.Get("X-User-Kind")
	said, err := s.verifier.verify(sent)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || said != "ok "+who {
		s.refused = append(s.refused, fmt.Sprintf("%s: %q, %v", who, said, err))
		w.WriteHeader(http.StatusForbidden)
		return
	}
	s.keys[keyOf(sent)]++
	_, _ = io.WriteString(w, r.Header.Get("X-User-Kind")+" "+r.Header.Get("X-User-Id"))
}

// keyOf is the id of the key that has signed an assertion.
func keyOf(assertion string) string {
	header, _, _ := strings.Cut(assertion, ".")
	var h struct{ Kid string }
	if raw, err := base64.RawURLEncoding.DecodeString(header); err == nil {
		_ = json.Unmarshal(raw, &h)
	}
	return h.Kid
}

// signed counts the assertions of a key so far.
func (s *fleetShop) signed(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[key]
}

// signedBy counts the keys that have signed.
func (s *fleetShop) signedBy() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.keys)
}

// verifier is the one of docs/backends.md in Go, as a process.
type verifier struct {
	t       *testing.T
	jwksURL string

	mu  sync.Mutex
	in  io.Writer
	out *bufio.Reader
}

// verifierBinary builds it once for all tests.
var verifierBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaryDir, "verifier")
	out, err := exec.Command("go", "build", "-o", path, "../../docs/backends/verifier.go").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the verifier: %w\n%s", err, out)
	}
	return path, nil
})

// start begins anew, without keys.
func (v *verifier) start(how func(*exec.Cmd) error) {
	v.t.Helper()
	path, err := verifierBinary()
	if err != nil {
		v.t.Fatal(err)
	}
	cmd := exec.Command(path, v.jwksURL, "http://shop.test", "http://shop.test")
	in, err := cmd.StdinPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	if err := how(cmd); err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	v.mu.Lock()
	defer v.mu.Unlock()
	v.in, v.out = in, bufio.NewReader(out)
}

// verify returns what it says of the values of an assertion: "ok" and the claims,
// or "refused" and why.
func (v *verifier) verify(values string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, err := io.WriteString(v.in, values+"\n"); err != nil {
		return "", err
	}
	line, err := v.out.ReadString('\n')
	return strings.TrimSpace(line), err
}

// inbox receives the codes that are sent to phones.
type inbox struct {
	server *httptest.Server
	mu     sync.Mutex
	codes  map[string]string // by phone
}

func newInbox(t *testing.T) *inbox {
	hook, err := standardwebhooks.NewWebhook(hookSecret)
	if err != nil {
		t.Fatal(err)
	}
	b := &inbox{codes: map[string]string{}}
	b.server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var sms struct{ Phone, Code string }
		raw, err := io.ReadAll(r.Body)
		if err := errors.Join(err, hook.Verify(raw, r.Header), json.Unmarshal(raw, &sms)); err != nil {
			t.Error(err)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.codes[sms.Phone] = sms.Code
	}))
	t.Cleanup(b.server.Close)
	return b
}

func (b *inbox) code(phone string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.codes["+86"+phone]
}
