package webhook

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/span"
)

const (
	pollEvery = 500 * time.Millisecond
	// restFor is how long a receiver is left alone that has answered no call of a
	// batch, or taken nothing of a whole one: a wrong secret may fail for days.
	restFor = 5 * time.Second

	batchSize = 64
	// callsAtOnce bounds the calls under way to one receiver, each about another
	// subject.
	callsAtOnce = 8
	// No call of a batch begins after startWithin, so that all have ended before
	// the batch is another's, whose clock may be some seconds ahead.
	startWithin = 5 * time.Second
	heldFor     = startWithin + eventTimeout + 5*time.Second

	// triedFor is how long an event is tried before it is given up.
	triedFor = 72 * time.Hour

	storeWithin = 5 * time.Second
)

// longestWait is what comes between two attempts at most, however long a
// receiver asks to be left alone.
const longestWait = time.Hour

// waits returns how long to wait after so many attempts in vain, of which the
// last ended with err.
func waits(attempts int, err error) time.Duration {
	wait := longestWait
	first := []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}
	if attempts <= len(first) {
		wait = first[attempts-1]
	}
	if status := (*StatusError)(nil); errors.As(err, &status) {
		wait = min(max(wait, status.RetryAfter), longestWait)
	}
	return wait
}

// Queue holds what the receivers are to be sent. *account.DB is one.
type Queue interface {
	// AddReceiver makes a receiver known, or says that it still is in use.
	AddReceiver(ctx context.Context, r account.Receiver, now time.Time) error
	// TakeDeliveries returns what is due, to one holder at a time. An empty batch
	// means that nothing is due or another holds it; an error that the queue is
	// out of reach.
	TakeDeliveries(ctx context.Context, t account.Taking) (account.DeliveryBatch, error)
	// PutBack stores how a batch went. The error is account.ErrTakenOver where
	// the batch is another's by now.
	PutBack(ctx context.Context, t account.Taking, delivered []int64, failed []account.Delivery) error
}

var _ Queue = (*account.DB)(nil)

// Outcome of one attempt to deliver an event.
type Outcome string

const (
	Delivered  Outcome = "delivered"
	Refused    Outcome = "refused"    // an answer that is neither a 2xx nor says that nobody is there
	Unanswered Outcome = "unanswered" // no answer, or one that says so: 502, 503, 504, 429
	Parked     Outcome = "parked"     // the last attempt, in vain
)

// DelivererConfig configures a Deliverer.
type DelivererConfig struct {
	Endpoint *Endpoint // the receiver; closed by its owner
	Queue    Queue
	Logger   *slog.Logger
	Observe  func(Outcome) // is told of each attempt
	Tracer   *span.Tracer  // of each batch; nil: nobody traces
}

// Deliverer sends one receiver every event, at least once, and those of one
// subject in order. Any number of them, in any number of processes, may serve
// the same receiver: one delivers at a time.
type Deliverer struct {
	DelivererConfig
	holder string
	failed bool // the last attempt to use the queue, which was logged
	away   bool // no call of the last batch was answered
}

// NewDeliverer makes a Deliverer, which Run makes work.
func NewDeliverer(cfg DelivererConfig) *Deliverer {
	return &Deliverer{DelivererConfig: cfg, holder: rand.Text()}
}

// ReceiverID names the receiver at a URL in the queue.
func ReceiverID(rawURL string) string {
	sum := sha256.Sum256([]byte(rawURL))
	return hex.EncodeToString(sum[:8])
}

// Receiver is what the queue knows this receiver by. Its name leaves out of the
// URL what may be secret.
func (d *Deliverer) Receiver() account.Receiver {
	u, err := url.Parse(d.Endpoint.url)
	if err != nil { // New has parsed it
		u = new(url.URL)
	}
	u.RawQuery = ""
	name := u.String()
	return account.Receiver{ID: ReceiverID(d.Endpoint.url), Name: name[:min(len(name), 1024)]}
}

// Join makes the receiver known to the queue, so that events wait for it from
// now on. It has to be called before Run, and once in a while later.
func (d *Deliverer) Join(ctx context.Context) error {
	return d.Queue.AddReceiver(ctx, d.Receiver(), time.Now())
}

// Run delivers until ctx ends. What is under way then is broken off, and sent
// again by the next Deliverer.
func (d *Deliverer) Run(ctx context.Context) {
	for ctx.Err() == nil {
		wait, err := d.round(ctx)
		d.complain(ctx, err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// complain logs that the queue fails once for all attempts until it works again.
func (d *Deliverer) complain(ctx context.Context, err error) {
	if errors.Is(err, account.ErrTakenOver) {
		d.Logger.Warn("delivering events took so long that another instance does it, which may send some twice", "webhook", d.Receiver().Name)
		err = nil
	}
	if err != nil && ctx.Err() == nil && !d.failed {
		d.Logger.Error("delivering events waits for the database", "webhook", d.Receiver().Name, "error", err)
	}
	if ctx.Err() == nil {
		d.failed = err != nil
	}
}

// round delivers one batch, and returns how long to wait before the next.
func (d *Deliverer) round(ctx context.Context) (wait time.Duration, err error) {
	now := time.Now()
	t := account.Taking{ReceiverID: d.Receiver().ID, Holder: d.holder, Now: now, Until: now.Add(heldFor), Limit: batchSize}
	if d.away { // one event finds out whether it is back; the others keep their 72 hours
		t.Limit = 1
	}
	batch, err := d.take(ctx, t)
	if err != nil || !batch.Taken {
		return pollEvery, err
	}
	r := &run{Deliverer: d, until: now.Add(startWithin)}
	err = r.deliver(ctx, t, batch.Deliveries)
	if len(batch.Deliveries) > 0 {
		d.away = r.unanswered > 0 && !r.answered
	}
	if d.away || len(r.delivered) == 0 && len(batch.Deliveries) == batchSize {
		return restFor, err
	}
	if len(batch.Deliveries) == 0 || err != nil {
		return pollEvery, err
	}
	return 0, nil
}

// take does not wait for a database that has vanished without a word.
func (d *Deliverer) take(ctx context.Context, t account.Taking) (account.DeliveryBatch, error) {
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	return d.Queue.TakeDeliveries(ctx, t)
}

// run is a batch on its way.
type run struct {
	*Deliverer
	until time.Time // no call begins later

	mu         sync.Mutex
	delivered  []int64
	failed     []account.Delivery
	answered   bool // a call was
	unanswered int  // so many were not
}

// deliver sends a batch and puts it back.
func (r *run) deliver(ctx context.Context, t account.Taking, all []account.Delivery) error {
	var told span.Span
	if len(all) > 0 {
		ctx, told = r.Tracer.Send(ctx, span.Sending{To: t.ReceiverID, Messages: len(all)})
	}
	r.send(ctx, all)
	defer func() { told.End(string(r.worst())) }()
	// What the receiver has taken is noted even if the gateway ends just now.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWithin)
	defer cancel()
	return r.Queue.PutBack(ctx, t, r.delivered, r.failed)
}

// worst is how the worst call ended; empty: all were delivered.
func (r *run) worst() Outcome {
	switch {
	case r.unanswered > 0:
		return Unanswered
	case len(r.failed) > 0:
		return Refused
	}
	return ""
}

// send sends what is about one subject one by one, in order, and several
// subjects at once.
func (r *run) send(ctx context.Context, all []account.Delivery) {
	var subjects []string
	bySubject := map[string][]account.Delivery{}
	for _, d := range all {
		if bySubject[d.Subject] == nil {
			subjects = append(subjects, d.Subject)
		}
		bySubject[d.Subject] = append(bySubject[d.Subject], d)
	}
	next := make(chan string)
	var calling sync.WaitGroup
	for range min(callsAtOnce, len(subjects)) {
		calling.Go(func() {
			for subject := range next {
				r.deliverInOrder(ctx, bySubject[subject])
			}
		})
	}
	for _, subject := range subjects {
		next <- subject
	}
	close(next)
	calling.Wait()
}

func (r *run) deliverInOrder(ctx context.Context, all []account.Delivery) {
	for _, d := range all {
		if !r.goesOn(ctx) || !r.attempt(ctx, d) {
			return
		}
	}
}

// goesOn says whether a further call may begin. A receiver that is not there is
// not tried with every event of a batch.
func (r *run) goesOn(ctx context.Context) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return ctx.Err() == nil && time.Now().Before(r.until) && (r.answered || r.unanswered < callsAtOnce)
}

// attempt sends an event once and says whether what follows it may be sent.
func (r *run) attempt(ctx context.Context, d account.Delivery) bool {
	began := time.Now()
	answered, err := r.Endpoint.sendEvent(ctx, d)
	if err != nil && ctx.Err() != nil {
		return false // broken off by us: no attempt
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if answered {
		r.answered = true
	} else {
		r.unanswered++
	}
	if err == nil {
		r.delivered = append(r.delivered, d.Seq)
		r.Observe(Delivered)
		return true
	}
	r.failed = append(r.failed, r.postponed(d, began, err))
	if answered {
		r.Observe(Refused)
	} else {
		r.Observe(Unanswered)
	}
	return false
}

// postponed notes an attempt in vain.
func (r *run) postponed(d account.Delivery, began time.Time, err error) account.Delivery {
	if d.Attempts++; d.Attempts == 1 {
		d.FirstTried = began
	}
	now := time.Now()
	d.Due, d.Said = now.Add(waits(d.Attempts, err)), said(err)
	log := r.Logger.With("webhook", r.Receiver().Name, "event", d.ID, "type", d.Type, "attempts", d.Attempts, "error", err)
	switch {
	case d.Due.After(d.FirstTried.Add(triedFor)):
		d.Parked = now
		r.Observe(Parked)
		log.Error("an event is given up; when the receiver works again: wxgate event replay")
	case d.Attempts == 1:
		log.Warn("an event was not delivered and is tried again for 72 hours")
	}
	return d
}

// said is as much of an error as the queue has room for.
func said(err error) string {
	text := fmt.Sprint(err)
	return strings.ToValidUTF8(text[:min(len(text), 256)], "") // which a cut may break, and no database takes broken
}
