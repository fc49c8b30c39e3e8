package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

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
	answer := w.answer
	w.mu.Unlock()
	status := answer(c)
	if status == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: status, Body: http.NoBody}, nil
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

// li's first event is refused until it is given up. What else there is of li
// waits so long, and nobody else does.
func TestAnEventIsTriedFor72Hours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		refuse := func(subject string) func(call) int {
			return func(c call) int {
				if c.Type == "wxgate.user.created" && strings.HasPrefix(c.Subject, subject) {
					return http.StatusInternalServerError
				}
				return http.StatusOK
			}
		}
		w.answerWith(refuse(""))
		d := w.deliverer(receiverURL)
		stop := start(d)
		li := w.arrives("li")
		w.answerWith(refuse(li))
		time.Sleep(13 * time.Minute)
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
		if diff := cmp.Diff(map[Outcome]int{Delivered: 3, Unanswered: 76, Parked: 1}, w.outcomes); diff != "" {
			t.Errorf("outcomes (-want +got)\n%s", diff)
		}
	})
}

// A receiver that is away for hours has missed nothing when it is back, and what
// is one person's is in order.
func TestAReceiverThatWasDownMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answerWith(func(call) int { return http.StatusBadGateway })
		d := w.deliverer(receiverURL)
		stop := start(d)
		var ids []string
		for n := range 100 {
			ids = append(ids, w.arrives(strconv.Itoa(n)))
		}
		time.Sleep(20 * time.Second)
		tried := len(w.took())
		if tried == 0 || tried > 2*batchSize {
			t.Errorf("a receiver that is down gets %d calls in 20 seconds", tried)
		}
		stop()
		time.Sleep(3 * time.Hour)
		w.answerWith(func(call) int { return http.StatusOK })
		stop = start(d)
		time.Sleep(10 * time.Second)
		stop()
		got := map[string][]string{}
		for _, c := range w.took() {
			got[c.Subject] = append(got[c.Subject], c.Type)
		}
		for _, id := range ids {
			if diff := cmp.Diff([]string{"wxgate.user.created", "wxgate.identity.linked"}, got[id]); diff != "" {
				t.Errorf("%s (-want +got)\n%s", id, diff)
			}
		}
	})
}

// Each receiver has its own place, failures and order.
func TestReceiversDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, down := newWorld(t), newWorld(t)
		down.answerWith(func(call) int { return 0 })
		down.db = w.db
		defer start(down.deliverer("https://other.internal/hooks"))()
		defer start(w.deliverer(receiverURL))()
		li := w.arrives("li")
		time.Sleep(2 * time.Second)
		w.wants("the one that works", "0s wxgate.user.created "+li, "0s wxgate.identity.linked "+li)
		time.Sleep(20 * time.Second)
		down.wants("the one that hangs", "0s wxgate.user.created "+li, "15s wxgate.user.created "+li)
	})
}

// Before and after a reload two deliver, and one of them at a time. What the old
// one has under way is broken off, and sent again.
func TestAReloadLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stopOld := start(w.deliverer(receiverURL))
		stopNew := start(w.deliverer(receiverURL))
		defer func() { stopNew() }()
		li := w.arrives("li")
		time.Sleep(time.Minute)
		w.wants("both run", "0s wxgate.user.created "+li, "0s wxgate.identity.linked "+li)
		w.answerWith(func(call) int { return 0 })
		stopNew()
		wang := w.arrives("wang")
		time.Sleep(time.Second)
		stopNew = start(w.deliverer(receiverURL))
		time.Sleep(time.Second)
		w.answerWith(func(call) int { return http.StatusOK })
		stopOld()
		time.Sleep(time.Second)
		calls := w.took()
		if len(calls) != 3 || calls[0].ID != calls[1].ID || calls[0].Subject != wang || calls[2].Type != "wxgate.identity.linked" {
			t.Errorf("calls %v", calls)
		}
		if w.count(Unanswered) > 0 {
			t.Error("what we broke off counts as an attempt")
		}
	})
}

// An instance that was killed while it held deliveries keeps them from the others
// for some seconds.
func TestWhatAKilledInstanceHeldIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		killed := w.deliverer(receiverURL)
		li := w.arrives("li")
		now := time.Now()
		batch, err := w.db.TakeDeliveries(t.Context(), account.Taking{
			ReceiverID: killed.Receiver().ID, Holder: killed.holder, Now: now, Until: now.Add(heldFor), Limit: batchSize,
		})
		if err != nil || len(batch.Deliveries) != 2 {
			t.Fatalf("%+v, %v", batch, err)
		}
		defer start(w.deliverer(receiverURL))()
		time.Sleep(heldFor - time.Second)
		w.wants("too early")
		time.Sleep(2 * time.Second)
		w.wants("later", "0s wxgate.user.created "+li, "0s wxgate.identity.linked "+li)
	})
}

// A receiver that hangs is called a few times at once, and whoever calls has put
// the batch back before it is another's.
func TestAReceiverThatHangsIsNotStormed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answerWith(func(call) int { return 0 })
		for n := range 30 {
			w.arrives("before" + strconv.Itoa(n))
		}
		a, b := w.deliverer(receiverURL), w.deliverer(receiverURL)
		for n := range 30 {
			w.arrives(strconv.Itoa(n))
		}
		stopA, stopB := start(a), start(b)
		time.Sleep(time.Minute)
		stopA()
		stopB()
		byTime := map[time.Duration]int{}
		for _, c := range w.took() {
			byTime[c.At]++
		}
		if len(byTime) < 3 {
			t.Errorf("called at %v", byTime)
		}
		for at, n := range byTime {
			if n > callsAtOnce {
				t.Errorf("%d calls at %s", n, at)
			}
		}
		if log := w.said(); strings.Contains(log, "another instance") {
			t.Errorf("the log:\n%s", log)
		}
	})
}

// A batch that took too long is another's, and is not stored twice.
func TestWhoIsOvertakenSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		slow := w.deliverer(receiverURL)
		w.answerWith(func(call) int { time.Sleep(heldFor + time.Second); return http.StatusOK })
		stopSlow := start(slow)
		li := w.arrives("li")
		time.Sleep(time.Second)
		stop := start(w.deliverer(receiverURL))
		time.Sleep(heldFor)
		w.answerWith(func(call) int { return http.StatusOK })
		time.Sleep(heldFor + 10*time.Second)
		stopSlow()
		stop()
		if log := w.said(); !strings.Contains(log, "another instance does it") {
			t.Errorf("the log:\n%s", log)
		}
		calls := w.took()
		if last := calls[len(calls)-1]; len(calls) < 3 || last.Type != "wxgate.identity.linked" || last.Subject != li {
			t.Errorf("calls %v", calls)
		}
	})
}

// broken is a queue that is out of reach now and then.
type broken struct {
	Queue
	err error
}

func (b *broken) TakeDeliveries(ctx context.Context, t account.Taking) (account.DeliveryBatch, error) {
	if b.err != nil {
		return account.DeliveryBatch{}, b.err
	}
	return b.Queue.TakeDeliveries(ctx, t)
}

func TestAnOutageOfTheDatabaseIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.deliverer(receiverURL)
		queue := &broken{Queue: d.Queue}
		d.Queue = queue
		li := w.arrives("li")
		for range 2 {
			queue.err = errors.New("no database")
			stop := start(d)
			time.Sleep(time.Minute)
			stop()
			queue.err = nil
			stop = start(d)
			time.Sleep(time.Minute)
			stop()
		}
		w.wants("afterwards", "0s wxgate.user.created "+li, "0s wxgate.identity.linked "+li)
		if n := strings.Count(w.said(), "no database"); n != 2 {
			t.Errorf("said %d times in two outages", n)
		}
	})
}

// Over a real connection: what the receiver sees, and what proves it.
func TestAnEventIsACloudEventWithASignature(t *testing.T) {
	var got struct {
		sync.Mutex
		all []string
	}
	s := newShop(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		for _, known := range []string{secret, otherSecret} {
			wh, err := standardwebhooks.NewWebhook(known)
			if err != nil {
				t.Error(err)
			}
			if err := wh.Verify(body, r.Header); err != nil {
				t.Errorf("to a receiver that knows one of the secrets: %v", err)
			}
		}
		got.Lock()
		defer got.Unlock()
		got.all = append(got.all, fmt.Sprint(r.Method, " ", r.RequestURI, " ", r.Header.Get("Content-Type"), " ", r.Header.Get("webhook-id"), "\n", string(body)))
		w.WriteHeader(http.StatusAccepted)
	})
	w := newWorld(t)
	d := w.deliverer(receiverURL)
	d.Endpoint = s.endpoint(t, otherSecret, secret)
	if err := d.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop := start(d)
	defer stop()
	li := w.arrives("li")
	page, err := w.db.Events(t.Context(), 0, 10)
	if err != nil || len(page.Events) != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	var want []string
	for n, data := range []string{`{}`, `{"appid":"wx1","openid":"oli","unionid":"uli"}`} {
		e := page.Events[n]
		want = append(want, fmt.Sprintf("POST /wxgate/new?shop=1 application/cloudevents+json %s\n"+
			`{"specversion":"1.0","id":%[1]q,"source":"/wxgate","type":"wxgate.%s","subject":%q,"time":%q,"datacontenttype":"application/json","data":%s}`,
			e.ID, e.Type, li, e.Time.Format(time.RFC3339Nano), data))
	}
	for w.count(Delivered) < 2 {
		time.Sleep(10 * time.Millisecond)
	}
	got.Lock()
	defer got.Unlock()
	if diff := cmp.Diff(want, got.all); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
