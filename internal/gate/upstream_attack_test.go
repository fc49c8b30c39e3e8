package gate

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestShopIsNotHeardWhereTheOptionIsOff(t *testing.T) {
	rg := newRig(t)
	b := rg.browser(uaChrome)
	before := b.whom()
	for _, path := range []string{"/page", "/static/page", "/pay/notify"} {
		for _, words := range [][]string{
			{"X-Login-Required: login"}, {"X-Wxgate-Login: U7"}, {"X-Wxgate-Logout: 1"}, {"X_Wxgate.Login: U7"}, {"Trailer: X-Wxgate-Login"},
		} {
			rg.says(path, http.StatusUnauthorized, words...)
			got := b.submit(path)
			if noWords(t, got.Header); got.StatusCode != http.StatusUnauthorized || got.body != "the shop's own words" {
				t.Errorf("%s, %v: %d %v", path, words, got.StatusCode, got.Header)
			}
		}
	}
	if after := b.whom(); after != before {
		t.Errorf("he was %s and is %s", before, after)
	}
}

// A visitor says it himself, in every spelling, to a shop that sends back what
// it gets. What he says never arrives; the shop has nothing to repeat.
func TestVisitorCannotSpeakForTheShop(t *testing.T) {
	rg := newRig(t, listening)
	rg.mu.Lock()
	rg.shop = func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.Header {
			if strings.Contains(fold(name), "wxgate") || strings.Contains(fold(name), "login") {
				w.Header()[name] = values
				w.Header()["X-Wxgate-Login"] = values // however it reads the name
			}
		}
		for name, values := range r.Trailer {
			w.Header()["X-Wxgate-Login"] = values
			w.Header()[name] = values
		}
		_, _ = io.WriteString(w, "shop "+r.URL.Path)
	}
	rg.mu.Unlock()
	b := rg.browser(uaChrome)
	before := b.whom()
	for _, name := range []string{
		"X-Wxgate-Login", "x-wxgate-login", "X-WXGATE-LOGIN", "X_Wxgate_Login", "X_WXGATE-LOGIN", "X.Wxgate.Login", "x~wxgate~login",
		"X-Wxgate_Login", "X!Wxgate!Login", "X-Wxgate-Login-", "X-Wxgate-Login.", "X-Wxgate-", "X-Wxgate-Logout",
	} {
		b.submit("/page", func(r *http.Request) { r.Header[name] = []string{"U7"} })
		b.submit("/page", func(r *http.Request) { r.Header[name] = []string{"U7", "U8"} })
		b.submit("/page", func(r *http.Request) {
			r.ContentLength = -1
			r.Trailer = http.Header{name: {"U7"}}
		})
		if after := b.whom(); after != before {
			t.Fatalf("%s: he was %s and is %s", name, before, after)
		}
	}
}

// The shop's answer is neither held back nor copied: parts arrive as it writes
// them, beside a session that is set.
func TestListeningHoldsNothingBack(t *testing.T) {
	rg := newRig(t, listening)
	next := make(chan struct{})
	rg.mu.Lock()
	rg.shop = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Wxgate-Login", "U7")
		w.Header().Set("Content-Type", "text/event-stream")
		for _, part := range []string{"one ", "two "} {
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	}
	rg.mu.Unlock()
	r, err := http.NewRequest(http.MethodGet, rg.abs("/stream"), nil)
	must(t, err)
	resp, err := http.DefaultTransport.RoundTrip(r)
	must(t, err)
	defer resp.Body.Close()
	if noWords(t, resp.Header); len(resp.Cookies()) != 1 {
		t.Errorf("the answer carries %v", resp.Header)
	}
	part := make([]byte, 4)
	for _, want := range []string{"one ", "two "} {
		_, err := io.ReadFull(resp.Body, part)
		must(t, err)
		if string(part) != want {
			t.Errorf("got %q, want %q", part, want)
		}
		next <- struct{}{}
	}
}

// Words that come before or after the header of the answer say nothing.
func TestWordsBesideTheHeaderAreNotHeard(t *testing.T) {
	rg := newRig(t, listening)
	rg.mu.Lock()
	rg.shop = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/page" {
			return
		}
		w.Header().Set("X-Wxgate-Login", "U7")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "X-Wxgate-Login")
		w.Header().Del("X-Wxgate-Login")
		_, _ = io.WriteString(w, "shop")
		w.Header().Set("X-Wxgate-Login", "U8")
		w.Header().Set(http.TrailerPrefix+"X-Wxgate-Login", "U9")
	}
	rg.mu.Unlock()
	b := rg.browser(uaChrome)
	before := b.whom()
	got := b.get("/page")
	noWords(t, got.Header)
	noWords(t, got.Trailer)
	if after := b.whom(); after != before {
		t.Errorf("he was %s and is %s", before, after)
	}
}

// What the shop goes on to write after its 401 does not follow our page.
func TestNothingFollowsAChallenge(t *testing.T) {
	rg := newRig(t, listening)
	rg.mu.Lock()
	rg.shop = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Login-Required", "login")
		w.Header().Set("Content-Length", "21")
		w.Header().Set("Content-Encoding", "br")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "the shop's own words")
		_, _ = io.Copy(w, strings.NewReader("!"))
		_ = http.NewResponseController(w).Flush()
		w.WriteHeader(http.StatusOK)
		w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
	}
	rg.mu.Unlock()
	b := rg.browser(uaChrome)
	got := b.fetch(http.MethodPost, "/page")
	if got.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(got.body, "{") || !strings.HasSuffix(got.body, "}\n") ||
		got.Header.Get("Content-Encoding") != "" || len(got.Trailer) != 0 {
		t.Errorf("%d %v %v %q", got.StatusCode, got.Header, got.Trailer, got.body)
	}
}
