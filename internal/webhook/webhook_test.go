package webhook

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret      = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz" // 24 bytes
	otherSecret = "whsec_eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4"
)

// shop is a shop that answers with answer and counts what reaches it.
type shop struct {
	*httptest.Server
	calls  atomic.Int32
	answer func(w http.ResponseWriter, r *http.Request, body []byte)
}

func newShop(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, body []byte)) *shop {
	s := &shop{answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s.answer(w, r, body)
	}))
	t.Cleanup(s.Close)
	return s
}

// says is a shop that answers everybody with a status and a text.
func says(t *testing.T, status int, text string) *shop {
	return newShop(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	})
}

func (s *shop) endpoint(t *testing.T, secrets ...string) *Endpoint {
	t.Helper()
	if secrets == nil {
		secrets = []string{secret}
	}
	e, err := New(Config{URL: s.URL + "/wxgate/new?shop=1", Secrets: secrets})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func TestQuestionIsWhatTheContractSays(t *testing.T) {
	type question struct {
		method, uri, contentType, id, body string
	}
	var got question
	s := newShop(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		got = question{r.Method, r.RequestURI, r.Header.Get("Content-Type"), r.Header.Get("webhook-id"), string(body)}
		for _, known := range []string{secret, otherSecret} {
			wh, err := standardwebhooks.NewWebhook(known)
			if err != nil {
				t.Error(err)
			}
			if err := wh.Verify(body, r.Header); err != nil {
				t.Errorf("to a shop that knows one of the secrets: %v", err)
			}
			if err := wh.Verify(append(body, ' '), r.Header); err == nil {
				t.Error("a changed body is accepted")
			}
		}
		_, _ = io.WriteString(w, `{"user_id":"42"}`)
	})
	e := s.endpoint(t, secret, otherSecret)
	for _, tt := range []struct {
		m    NewMember
		body string
	}{
		{NewMember{Key: "k1", GuestID: "1000000000", Phone: "+8613800138000", AppID: "wx1", OpenID: "o<1>", UnionID: "u1"},
			`{"idempotency_key":"k1","guest_id":"1000000000","phone":"+8613800138000","appid":"wx1","openid":"o<1>","unionid":"u1"}`},
		{NewMember{Key: "k2"}, `{"idempotency_key":"k2","guest_id":"","appid":"","openid":"","unionid":""}`},
	} {
		id, err := e.MakeUserID(t.Context(), tt.m)
		if id != "42" || err != nil {
			t.Errorf("the id is %q, %v", id, err)
		}
		want := question{"POST", "/wxgate/new?shop=1", "application/json", tt.m.Key, tt.body}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(question{})); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		status          int
		text, id, wrong string
	}{
		{200, `{"user_id":"42"}`, "42", ""},
		{201, `{"user_id":"u-\u4e2d","more":[1]}`, "u-中", ""},
		{200, `{"user_id":""}`, "", ""}, // account refuses it, as all that is no id
		{200, `{"user_id":42}`, "42", ""},
		{200, `{"user_id":9007199254740991}`, "9007199254740991", ""},
		{200, `{"user_id":9007199254740992}`, "", "send it as a string"},
		{200, `{"user_id":99999999999999999999}`, "", "send it as a string"},
		{200, `{"user_id":4.2}`, "", "no user_id that is a string or an integer"},
		{200, `{"user_id":42.0}`, "", "no user_id that is a string or an integer"},
		{200, `{"user_id":1e3}`, "", "no user_id that is a string or an integer"},
		{200, `{"user_id":null}`, "", "no user_id that is a string or an integer"},
		{200, `{"user_id":["42"]}`, "", "no user_id that is a string or an integer"},
		{200, `{"id":"42"}`, "", "no user_id that is a string or an integer"},
		{200, `"42"`, "", "not a JSON object"},
		{200, `<b>Warning</b>: {"user_id":"42"}`, "", "not a JSON object"},
		{200, ``, "", "not a JSON object"},
		{200, `{"user_id":"42","pad":"` + strings.Repeat("x", answerLimit) + `"}`, "", "longer than"},
		{302, `{"user_id":"42"}`, "", "answered 302"},
		{403, `{"user_id":"42"}`, "", "answered 403"},
		{500, `{"user_id":"42"}`, "", "answered 500"},
	} {
		t.Run(tt.text[:min(len(tt.text), 30)], func(t *testing.T) {
			id, err := says(t, tt.status, tt.text).endpoint(t).MakeUserID(t.Context(), NewMember{Key: "k"})
			switch {
			case id != tt.id || (err == nil) != (tt.wrong == ""):
				t.Errorf("%q, %v, want %q", id, err, tt.id)
			case err != nil && !strings.Contains(err.Error(), tt.wrong):
				t.Errorf("error %q does not say %q", err, tt.wrong)
			}
		})
	}
}

// roundTrips is a shop without a network, for tests in virtual time.
type roundTrips func(*http.Request) (*http.Response, error)

func (f roundTrips) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answerOf(text string) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(text))}
}

func TestShopThatHangsIsGivenUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := New(Config{URL: "http://shop.internal/new?key=hush", Secrets: []string{secret}})
		if err != nil {
			t.Fatal(err)
		}
		e.client.Transport = roundTrips(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		start := time.Now()
		_, err = e.MakeUserID(t.Context(), NewMember{Key: "k"})
		if err == nil || !strings.Contains(err.Error(), "did not answer within 2s") || strings.Contains(err.Error(), "hush") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took != CallTimeout {
			t.Errorf("it took %s", took)
		}
	})
}

// A visitor who hangs up does not take the answer from others, who wait for
// the same person.
func TestOnePersonIsAskedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := New(Config{URL: "http://shop.internal/new", Secrets: []string{secret}})
		if err != nil {
			t.Fatal(err)
		}
		leave, asked := make(chan struct{}), map[string]int{}
		var mu sync.Mutex
		e.client.Transport = roundTrips(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			asked[r.Header.Get("webhook-id")]++
			mu.Unlock()
			<-leave
			if err := r.Context().Err(); err != nil {
				return nil, err
			}
			return answerOf(`{"user_id":"42"}`), nil
		})
		ctx, hangUp := context.WithCancel(t.Context())
		go func() {
			if _, err := e.MakeUserID(ctx, NewMember{Key: "k"}); !errors.Is(err, context.Canceled) {
				t.Errorf("who hung up: %v", err)
			}
		}()
		synctest.Wait()
		for i := range 11 {
			key := "k"
			if i == 10 {
				key = "somebody else"
			}
			go func() {
				if id, err := e.MakeUserID(t.Context(), NewMember{Key: key}); id != "42" || err != nil {
					t.Errorf("%s: %q, %v", key, id, err)
				}
			}()
		}
		synctest.Wait()
		hangUp()
		synctest.Wait()
		close(leave)
		synctest.Wait()
		if diff := cmp.Diff(map[string]int{"k": 1, "somebody else": 1}, asked); diff != "" {
			t.Errorf("calls (-want +got)\n%s", diff)
		}
	})
}

func TestShopThatIsDownIsNotStormed(t *testing.T) {
	s := says(t, http.StatusBadGateway, "")
	e := s.endpoint(t)
	for range 50 {
		if id, err := e.MakeUserID(t.Context(), NewMember{Key: "k"}); err == nil {
			t.Fatalf("got %s", id)
		}
	}
	if n := s.calls.Load(); n != breakAfter {
		t.Errorf("%d calls, want %d", n, breakAfter)
	}
	_, err := e.MakeUserID(t.Context(), NewMember{Key: "k"})
	if !errors.Is(err, errResting) {
		t.Errorf("error %v", err)
	}
	s.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) { _, _ = io.WriteString(w, `{"user_id":"42"}`) }
	e.breaker.until = time.Now() // the rest is over
	for range 3 {
		if id, err := e.MakeUserID(t.Context(), NewMember{Key: "k"}); id != "42" || err != nil {
			t.Errorf("back again: %s, %v", id, err)
		}
	}
}

// A shop that says no is there.
func TestShopThatRefusesIsAskedAgain(t *testing.T) {
	s := says(t, http.StatusForbidden, "")
	e := s.endpoint(t)
	for range 3 * breakAfter {
		_, _ = e.MakeUserID(t.Context(), NewMember{Key: "k"})
	}
	if n := s.calls.Load(); n != 3*breakAfter {
		t.Errorf("%d calls, want %d", n, 3*breakAfter)
	}
}

func TestBreakerLetsOneCallTryAgain(t *testing.T) {
	var b breaker
	now := time.Unix(1000, 0)
	enters := func(want bool) {
		t.Helper()
		if b.enter(now) != want {
			t.Errorf("at %s a call may be made: %t", now, !want)
		}
	}
	for range breakAfter - 1 {
		b.leave(now, false)
		enters(true)
	}
	b.leave(now, true)
	for range breakAfter {
		enters(true)
		b.leave(now, false)
	}
	enters(false)
	now = now.Add(breakFor - 1)
	enters(false)
	now = now.Add(1)
	enters(true)
	enters(false)
	b.leave(now, false)
	now = now.Add(breakFor - 1)
	enters(false)
	now = now.Add(1)
	enters(true)
	enters(false)
	now = now.Add(CallTimeout) // the one that tried was lost
	enters(true)
	b.leave(now, true)
	enters(true)
	enters(true)
}

// An idle connection that the shop has closed costs nobody his login.
func TestDeadConnectionIsReplaced(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"user_id":"42"}`)
	}))
	var conns []net.Conn
	var mu sync.Mutex
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		if state == http.StateIdle {
			conns = append(conns, c)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	e := (&shop{Server: s}).endpoint(t)
	for i := range 20 {
		if id, err := e.MakeUserID(t.Context(), NewMember{Key: "k"}); id != "42" || err != nil {
			t.Fatalf("call %d: %s, %v", i, id, err)
		}
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		conns = nil
		mu.Unlock()
	}
}

func TestWrongConfigurationIsNamed(t *testing.T) {
	good, key := "https://shop.internal/new", func(n int) string {
		return secretPrefix + base64.StdEncoding.EncodeToString(make([]byte, n))
	}
	for _, tt := range []struct {
		url     string
		secrets []string
		want    string
	}{
		{"", []string{secret}, "the URL is not one"},
		{"shop.internal/new", []string{secret}, "the URL is not one"},
		{"ftp://shop.internal/new", []string{secret}, "the URL is not one"},
		{"https://user:hush@shop.internal/new", []string{secret}, "the URL is not one"},
		{"https://shop.internal:hush", []string{secret}, "the URL is not one"},
		{good, nil, "secret is missing"},
		{good, []string{secret, "hush"}, "secret number 2: it does not begin with whsec_"},
		{good, []string{"whsec_hush!"}, "is not base64"},
		{good, []string{key(23)}, "it holds 23 bytes, 24 to 64 are needed"},
		{good, []string{key(65)}, "it holds 65 bytes, 24 to 64 are needed"},
		{good, []string{key(24), key(64)}, ""},
		{"http://127.0.0.1:8080", []string{secret}, ""},
	} {
		_, err := New(Config{URL: tt.url, Secrets: tt.secrets})
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%s %v: error %v, want one that says %q", tt.url, tt.secrets, err, tt.want)
		}
	}
}

func FuzzReadUserID(f *testing.F) {
	for _, s := range []string{`{"user_id":"42"}`, `{"user_id":-42}`, `{"user_id":1e3}`, `[]`, `{"user_id":"\u0000"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		id, err := readUserID(body)
		if err != nil {
			if id != "" {
				t.Errorf("%q with an error", id)
			}
			return
		}
		var answer map[string]any
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Errorf("%q read from %q: %v", id, body, err)
		}
	})
}
