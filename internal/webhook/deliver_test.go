package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/account"
)

// world is an account database and a receiver, in virtual time.
type world struct {
	t      *testing.T
	db     *account.DB
	log    strings.Builder
	logged sync.Mutex

	mu       sync.Mutex
	began    time.Time      // of the first call
	answer   func(call) int // of the receiver; 0: none
	header   http.Header    // of its answers
	calls    []call
	outcomes map[Outcome]int
}

// call is what reaches the receiver.
type call struct {
	At      time.Duration // since the first one
	ID      string
	Type    string
	Subject string
}

func (c call) String() string { return fmt.Sprint(c.At, " ", c.Type, " ", c.Subject) }

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := account.Open(t.Context(), account.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "accounts.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &world{t: t, db: db, outcomes: map[Outcome]int{}, answer: func(call) int { return http.StatusNoContent }}
}

// Write is the log.
func (w *world) Write(p []byte) (int, error) {
	w.logged.Lock()
	defer w.logged.Unlock()
	return w.log.Write(p)
}

func (w *world) said() string {
	w.logged.Lock()
	defer w.logged.Unlock()
	return w.log.String()
}

// RoundTrip is the receiver.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Error(err)
	}
	var e CloudEvent
	if err := json.Unmarshal(body, &e); err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	if w.began.IsZero() {
		w.began = time.Now()
	}
	c := call{time.Since(w.began), e.ID, e.Type, e.Subject}
	w.calls = append(w.calls, c)
	answer, header := w.answer, w.header
	w.mu.Unlock()
	status := answer(c)
	if status == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: status, Header: header, Body: http.NoBody}, nil
}

func (w *world) answerWith(f func(call) int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

// took returns the calls so far and forgets them.
func (w *world) took() []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := w.calls
	w.calls = nil
	return calls
}

// wants compares what has reached the receiver since the last call.
func (w *world) wants(what string, want ...string) {
	w.t.Helper()
	var got []string
	for _, c := range w.took() {
		got = append(got, c.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("%s (-want +got)\n%s", what, diff)
	}
}

// deliverer is an instance that delivers to a URL.
func (w *world) deliverer(url string) *Deliverer {
	w.t.Helper()
	e, err := New(Config{URL: url, Secrets: []string{secret}})
	if err != nil {
		w.t.Fatal(err)
	}
	e.client.Transport = w
	d := NewDeliverer(DelivererConfig{
		Endpoint: e, Queue: w.db, Logger: slog.New(slog.NewTextHandler(w, nil)), Observe: func(o Outcome) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.outcomes[o]++
		},
	})
	if err := d.Join(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return d
}

const receiverURL = "https://shop.internal/hooks?key=hush"

// start makes a deliverer work until stop is called.
func start(d *Deliverer) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// arrives is a person who is new: user.created and identity.linked.
func (w *world) arrives(name string) (id string) {
	w.t.Helper()
	out, err := w.db.Link(w.t.Context(), account.Rules{}, account.Input{
		AppID: "wx1", OpenID: "o" + name, UnionID: "u" + name, InBrowser: true, Want: account.WantLogin,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.UserID
}

func (w *world) count(o Outcome) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.outcomes[o]
}

func TestEventsArriveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer start(w.deliverer(receiverURL))()
		li := w.arrives("li")
		time.Sleep(time.Second)
		w.wants("li", "0s wxgate.user.created "+li, "0s wxgate.identity.linked "+li)
		time.Sleep(time.Minute)
		w.wants("nothing more")
		if got := w.count(Delivered); got != 2 {
			t.Errorf("%d counted", got)
		}
	})
}

// A receiver that is busy says when to come again, and is not asked before. What
// it says is heard up to an hour, and shortens nothing.
func TestReceiverIsLeftAloneForAsLongAsItAsks(t *testing.T) {
	for _, c := range []struct {
		name, after string
		second      time.Duration // attempt, after the first
	}{
		{"in seconds", "90", 90 * time.Second},
		{"until a date", "Sat, 01 Jan 2000 00:03:00 GMT", 3 * time.Minute}, // virtual time begins with that year
		{"sooner than it would come", "1", 5 * time.Second},
		{"for days", "172800", time.Hour},
		{"for longer than a duration", "9999999999999", 5 * time.Second},
		{"since yesterday", "Fri, 31 Dec 1999 00:00:00 GMT", 5 * time.Second},
		{"a word", "later", 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.header = http.Header{"Retry-After": {c.after}}
				w.answerWith(func(c call) int {
					if c.At == 0 {
						return http.StatusTooManyRequests
					}
					return http.StatusOK
				})
				defer start(w.deliverer(receiverURL))()
				w.arrives("li")
				time.Sleep(c.second + 10*time.Second)
				calls := w.took()
				if len(calls) != 3 { // the first is refused, and sent again before the other
					t.Fatalf("calls: %v", calls)
				}
				want := c.second
				if at, err := http.ParseTime(c.after); err == nil && at.After(w.began) {
					want = at.Sub(w.began)
				}
				if late := calls[1].At - want; late < 0 || late > time.Second {
					t.Errorf("asked again after %s, want %s", calls[1].At, want)
				}
			})
		})
	}
}

// li's first event is refused until it is given up. What else there is of li
// waits so long, and nobody else does.
func TestAnEventIsTriedFor72Hours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.deliverer(receiverURL)
		li := w.arrives("li")
		w.answerWith(func(c call) int {
			if c.Type == "wxgate.user.created" && c.Subject == li {
				return http.StatusInternalServerError
			}
			return http.StatusOK
		})
		stop := start(d)
		time.Sleep(13*time.Minute - time.Millisecond)
		created := "wxgate.user.created " + li
		w.wants("attempts", "0s "+created, "5s "+created, "35s "+created, "2m35s "+created, "12m35s "+created)

		wang := w.arrives("wang")
		time.Sleep(time.Minute)
		stop()
		w.wants("somebody else", "13m0s wxgate.user.created "+wang, "13m0s wxgate.identity.linked "+wang)

		for range 70 { // stopped meanwhile, since to look twice a second for days takes long even in virtual time
			time.Sleep(time.Hour)
			stop := start(d)
			time.Sleep(10 * time.Second)
			stop()
		}
		if calls := w.took(); len(calls) != 70 || w.count(Parked) != 0 {
			t.Errorf("%d attempts in 70 hours, %d given up", len(calls), w.count(Parked))
		}
		time.Sleep(time.Hour)
		stop = start(d)
		time.Sleep(time.Minute)
		stop()
		if calls := w.took(); len(calls) != 2 || calls[0].Type != "wxgate.user.created" || calls[1].Type != "wxgate.identity.linked" || calls[1].Subject != li {
			t.Errorf("the last attempt, and what had waited for it: %v", calls)
		}
		parked, err := w.db.ParkedDeliveries(t.Context(), ReceiverID(receiverURL), 0, 10)
		if err != nil || len(parked) != 1 || parked[0].Subject != li || parked[0].Said != "the shop answered 500" {
			t.Fatalf("given up: %+v, %v", parked, err)
		}
		if log := w.said(); strings.Count(log, li) > 0 || strings.Count(log, "is tried again for 72 hours") != 1 ||
			strings.Count(log, "is given up") != 1 || strings.Contains(log, "hush") {
			t.Errorf("the log:\n%s", log)
		}
		if diff := cmp.Diff(map[Outcome]int{Delivered: 3, Refused: 76, Parked: 1}, w.outcomes); diff != "" {
			t.Errorf("outcomes (-want +got)\n%s", diff)
		}
	})
}
