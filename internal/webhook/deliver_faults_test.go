package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/wxgate/wxgate/internal/account"
)

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
		if tried := len(w.took()); tried < 4 || tried > 2*callsAtOnce+4 {
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

// A program that breaks at one kind of event gets the others, however many it
// has broken at.
func TestAReceiverThatBreaksAtSomeEventsGetsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.deliverer(receiverURL)
		bad := map[string]bool{}
		for n := range 3 * callsAtOnce {
			bad[w.arrives(strconv.Itoa(n))] = true
		}
		w.answerWith(func(c call) int {
			if bad[c.Subject] {
				return http.StatusInternalServerError
			}
			return http.StatusOK
		})
		li := w.arrives("li")
		defer start(d)()
		time.Sleep(2 * time.Second)
		var got []string
		for _, c := range w.took() {
			if c.Subject == li {
				got = append(got, c.String())
			}
		}
		if diff := cmp.Diff([]string{"0s wxgate.user.created " + li, "0s wxgate.identity.linked " + li}, got); diff != "" {
			t.Errorf("somebody else (-want +got)\n%s", diff)
		}
	})
}

// A program that takes nothing at all, since it knows another secret, say, is not
// stormed either.
func TestAReceiverThatRefusesEverythingIsNotStormed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answerWith(func(call) int { return http.StatusUnauthorized })
		d := w.deliverer(receiverURL)
		for n := range 5 * batchSize {
			w.arrives(strconv.Itoa(n))
		}
		defer start(d)()
		time.Sleep(2*restFor - time.Second)
		if tried := len(w.took()); tried < batchSize/2 || tried > 2*batchSize {
			t.Errorf("%d calls in %s", tried, 2*restFor)
		}
	})
}

// What is behind a 2xx does not matter: a framework may send a page, and some
// never come to an end.
func TestA2xxIsEnough(t *testing.T) {
	s := newShop(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		if r.Header.Get("webhook-id") == "cut" {
			w.Header().Set("Content-Length", "10")
			return
		}
		_, _ = w.Write(bytes.Repeat([]byte("x"), 2*answerLimit))
	})
	for _, id := range []string{"long", "cut"} {
		if answered, err := s.endpoint(t).sendEvent(t.Context(), account.Delivery{Event: account.Event{ID: id}}); !answered || err != nil {
			t.Errorf("%s: %v, %v", id, answered, err)
		}
	}
	if err := s.endpoint(t).SendCode(t.Context(), code); err != nil {
		t.Errorf("a code: %v", err)
	}
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

// broken is a queue that is out of reach now and then, or does not answer once.
type broken struct {
	Queue
	err    error
	silent bool
}

func (b *broken) TakeDeliveries(ctx context.Context, t account.Taking) (account.DeliveryBatch, error) {
	if b.err != nil {
		return account.DeliveryBatch{}, b.err
	}
	if b.silent {
		b.silent = false
		<-ctx.Done()
		return account.DeliveryBatch{}, ctx.Err()
	}
	return b.Queue.TakeDeliveries(ctx, t)
}

// Whoever waits for the last word of a database that has vanished delivers nothing
// from the one that has taken its place.
func TestADatabaseThatVanishesIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.deliverer(receiverURL)
		d.Queue = &broken{Queue: d.Queue, silent: true}
		li := w.arrives("li")
		defer start(d)()
		time.Sleep(10 * time.Second)
		w.wants("in ten seconds", "0s wxgate.user.created "+li, "0s wxgate.identity.linked "+li)
	})
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

// What went wrong is kept in a database, which takes no broken letter.
func TestWhatWentWrongIsCutBetweenLetters(t *testing.T) {
	got := said(errors.New("xx" + strings.Repeat("错", 100)))
	if !utf8.ValidString(got) || len(got) > 256 || len(got) < 250 {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
