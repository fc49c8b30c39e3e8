package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/wxgate/wxgate/internal/dbtest"
)

const hookSecret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"

// receiver is a program of the shop that is sent events.
type receiver struct {
	t      *testing.T
	server *httptest.Server

	mu     sync.Mutex
	heard  []heard
	answer func(n int) // the nth call, from 1 on
}

type heard struct{ id, what string }

func newReceiver(t *testing.T, answer func(n int)) *receiver {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(hookSecret)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{t: t, answer: answer}
	r.server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, in *http.Request) {
		body, err := io.ReadAll(in.Body)
		if err == nil {
			err = hook.Verify(body, in.Header)
		}
		if err != nil {
			t.Error(err)
		}
		var e struct{ ID, Type, Subject string }
		if err := json.Unmarshal(body, &e); err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.heard = append(r.heard, heard{e.ID, e.Type + " " + e.Subject})
		n := len(r.heard)
		r.mu.Unlock()
		r.answer(n)
	}))
	t.Cleanup(r.server.Close)
	return r
}

func (r *receiver) lines() string {
	return "webhook " + r.server.URL + " {\nsecret " + hookSecret + "\n}"
}

// about are the events of a subject so far, each with its id.
func (r *receiver) about(subject string) (all []heard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.heard {
		if strings.HasSuffix(h.what, " "+subject) {
			all = append(all, h)
		}
	}
	return all
}

const settled = "wxgate.user.merge_settled"

// wants waits until so much is known of a subject, and compares. What comes with
// time is not waited for unless it is wanted.
func (r *receiver) wants(subject string, want ...string) []heard {
	r.t.Helper()
	var all []heard
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		all = slices.DeleteFunc(r.about(subject), func(h heard) bool {
			return h.what == settled+" "+subject && !slices.Contains(want, settled)
		})
		if len(all) >= len(want) || time.Since(start) > 2*time.Minute {
			break
		}
	}
	var got []string
	for _, h := range all {
		got = append(got, strings.TrimSuffix(h.what, " "+subject))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("events of %s (-want +got)\n%s", subject, diff)
	}
	return all
}

// waits until the configured webhook is as it should be.
func (g *gateway) waits(what string, until func(w webhooks) bool) {
	g.t.Helper()
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		var all struct{ Webhooks []webhooks }
		if err := json.Unmarshal([]byte(g.must("event", "webhooks", "--json")), &all); err != nil {
			g.t.Fatal(err)
		}
		for _, w := range all.Webhooks {
			if w.Configured && until(w) {
				return
			}
		}
		if time.Since(start) > 2*time.Minute {
			g.t.Fatalf("%s: in vain: %+v", what, all)
		}
	}
}

func (g *gateway) kill() {
	g.t.Helper()
	if err := g.process.Kill(); err != nil {
		g.t.Fatal(err)
	}
	<-g.ended
}

// What was under way when the gateway was killed is sent again when it is back,
// and what was to follow still follows.
func TestAGatewayIsKilledInTheMiddleOfADelivery(t *testing.T) {
	t.Parallel()
	called, killed := make(chan struct{}), make(chan struct{})
	r := newReceiver(t, func(n int) {
		if n == 1 {
			close(called)
			<-killed
		}
	})
	g := newGateway(t, r.lines(), nil)
	member := g.logIn(g.browser("li"))
	<-called
	g.kill()
	close(killed)
	if n := len(r.about(member)); n > 1 {
		t.Fatalf("%d events arrived before", n)
	}
	g.run()
	merged := func() bool { // what was under way may have arrived twice before
		heard := r.about(member)
		return len(heard) > 1 && strings.HasPrefix(heard[len(heard)-1].what, "wxgate.user.merged")
	}
	for start := time.Now(); !merged() && time.Since(start) < 2*time.Minute; time.Sleep(20 * time.Millisecond) {
	}
	if !merged() {
		t.Errorf("the member's events: %v", r.about(member))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.heard[0].id != r.heard[1].id {
		t.Errorf("what was under way was not sent again first: %v", r.heard)
	}
}

// Two gateways on one database send each event once. When one is killed the
// other goes on.
func TestGatewaysDeliverInTurn(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(int) {})
	one, other := prepare(t), prepare(t)
	one.databaseAt = dbtest.Shared(t, dbtest.Postgres).Database(t)
	other.databaseAt, other.wechat = one.databaseAt, one.wechat
	for _, g := range []*gateway{one, other} {
		g.write("Caddyfile", g.config(r.lines()))
		g.run()
	}
	li := one.logIn(one.browser("li"))
	r.wants(li, "wxgate.user.created", "wxgate.identity.linked", "wxgate.user.merged")
	other.waits("noted as taken", func(w webhooks) bool { return w.Waiting == 0 }) // or they come again
	one.kill()
	other.must("user", "revoke", li, "--reason", "lost his phone", "--yes")
	other.must("user", "cancel", li, "--reason", "asked for it", "--yes")
	all := r.wants(li, "wxgate.user.created", "wxgate.identity.linked", "wxgate.user.merged", "wxgate.user.cancelled")
	ids := map[string]bool{}
	for _, h := range all {
		ids[h.id] = true
	}
	if len(ids) != len(all) {
		t.Errorf("sent twice: %v", all)
	}
}

// A shop that was down hears, when it is back, that a merge is settled, and is
// sent all that was before, if the operator says so.
func TestAWebhookThatWasDown(t *testing.T) {
	t.Parallel()
	var down sync.Mutex
	down.Lock() // nobody answers
	r := newReceiver(t, func(int) {})
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		if !down.TryLock() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		down.Unlock()
		r.server.Config.Handler.ServeHTTP(w, in)
	}))
	t.Cleanup(gate.Close)
	g := newGateway(t, strings.Replace(r.lines(), r.server.URL, gate.URL+"/hooks?key=hush", 1), func(s *seeder) {
		aDay(s)
		s.happened(time.Hour + 2*time.Minute)
	})
	g.waits("refused", func(w webhooks) bool {
		return w.Waiting == 1 && w.Said == "the shop answered 502" && w.URL == gate.URL+"/hooks"
	})
	down.Unlock()
	id := ""
	g.waits("there", func(w webhooks) bool { id = w.ID; return true })
	g.must("event", "replay", id, "--reason", "the shop is back")
	r.wants("1000000001", settled)
	g.must("event", "replay", id, "--after", "0", "--reason", "the shop is new")
	g.waits("taken", func(w webhooks) bool { return w.Waiting == 0 && w.Failed == 0 })
	r.wants("1000000001", settled,
		"wxgate.user.created", "wxgate.user.merged", "wxgate.identity.linked", settled)
	if log := fmt.Sprint(g.log); strings.Contains(log, "hush") || !strings.Contains(log, "an event was not delivered") {
		t.Errorf("the log:\n%s", log)
	}
}

// webhooks is a line of what operators see.
type webhooks struct {
	ID, URL, Said   string
	Configured      bool
	Waiting, Failed int
}
