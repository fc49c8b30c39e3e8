package account

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// taker delivers to one receiver.
type taker struct {
	t        *testing.T
	db       *DB
	receiver string
	holder   string
	now      time.Time
}

// join makes a receiver of the database and somebody who delivers to it.
func join(t *testing.T, db *DB, receiver, holder string) *taker {
	t.Helper()
	k := &taker{t, db, receiver, holder, time.Now()}
	must(t, db.AddReceiver(t.Context(), Receiver{ID: receiver, Name: "https://" + receiver}, k.now))
	return k
}

func (k *taker) taking(limit int) Taking {
	return Taking{ReceiverID: k.receiver, Holder: k.holder, Now: k.now, Until: k.now.Add(time.Minute), Limit: limit}
}

// take returns the batch, and what its events are.
func (k *taker) take(limit int) (batch DeliveryBatch, lines []string) {
	k.t.Helper()
	batch, err := k.db.TakeDeliveries(k.t.Context(), k.taking(limit))
	must(k.t, err)
	lines = []string{}
	for _, d := range batch.Deliveries {
		lines = append(lines, told(d.Event))
	}
	return batch, lines
}

// back puts a batch back, of which all was delivered but those that failed,
// which are due a minute later.
func (k *taker) back(batch DeliveryBatch, failed ...string) {
	k.t.Helper()
	var done []int64
	var again []Delivery
	for _, d := range batch.Deliveries {
		if len(failed) > 0 && told(d.Event) == failed[0] {
			d.Attempts, d.FirstTried, d.Due, d.Said = d.Attempts+1, k.now, k.now.Add(time.Minute), "no"
			again, failed = append(again, d), failed[1:]
			continue
		}
		done = append(done, d.Seq)
	}
	must(k.t, k.db.PutBack(k.t.Context(), k.taking(0), done, again))
}

// park gives up a batch.
func (k *taker) park(batch DeliveryBatch) {
	k.t.Helper()
	for i := range batch.Deliveries {
		d := &batch.Deliveries[i]
		d.Attempts, d.FirstTried, d.Due, d.Parked, d.Said = 7, k.now, k.now.Add(time.Hour), k.now, "gone"
	}
	must(k.t, k.db.PutBack(k.t.Context(), k.taking(0), nil, batch.Deliveries))
}

func TestAReceiverIsSentWhatHappensFromItsJoiningOn(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		must(t, tell(t.Context(), db, "U", 0))
		_, _ = pageOf(t, db, 0, 10)
		one := join(t, db, "one", "a")
		if batch, lines := one.take(10); batch.Taken || len(lines) > 0 {
			t.Errorf("at first: %v", lines)
		}
		must(t, tell(t.Context(), db, "U", 1))
		must(t, tell(t.Context(), db, "V", 2))
		must(t, tell(t.Context(), db, "U", 3))
		two := join(t, db, "two", "a") // of which nobody had read by then
		one = join(t, db, "one", "a")  // a configuration that is loaded again
		batch, lines := one.take(2)
		diff(t, "a batch", []string{"U 1", "V 2"}, lines)
		one.back(batch)
		batch, lines = one.take(10)
		diff(t, "the rest", []string{"U 3"}, lines)
		one.back(batch)
		if batch, lines = one.take(10); batch.Taken || len(lines) > 0 {
			t.Errorf("at the end: %v", lines)
		}
		_, lines = two.take(10)
		diff(t, "another receiver", []string{"U 1", "V 2", "U 3"}, lines)
		diff(t, "its event", EventUserCreated, batchOf(t, two).Deliveries[0].Type)
	})
}

func batchOf(t *testing.T, k *taker) DeliveryBatch {
	t.Helper()
	batch, _ := k.take(10)
	return batch
}

func TestOneDeliversAtATime(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		a, b := join(t, db, "one", "a"), join(t, db, "one", "b")
		must(t, tell(t.Context(), db, "U", 1))
		must(t, tell(t.Context(), db, "V", 2))
		held, lines := a.take(1)
		diff(t, "the first", []string{"U 1"}, lines)
		if batch, lines := b.take(10); batch.Taken || len(lines) > 0 {
			t.Errorf("the other gets %v", lines)
		}
		a.back(held)
		held, lines = a.take(1)
		diff(t, "the next", []string{"V 2"}, lines)

		b.now = b.now.Add(2 * time.Minute) // a stands still
		other, lines := b.take(10)
		diff(t, "what was held for too long", []string{"V 2"}, lines)
		err := db.PutBack(t.Context(), a.taking(0), []int64{held.Deliveries[0].Seq}, nil)
		if !errors.Is(err, ErrTakenOver) {
			t.Errorf("the one that stood still: %v", err)
		}
		b.back(other, "V 2")
		b.now = b.now.Add(time.Minute)
		_, lines = b.take(10)
		diff(t, "what failed", []string{"V 2"}, lines)
	})
}

func TestWhatFollowsOfASubjectWaits(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		k := join(t, db, "one", "a")
		for n, subject := range []string{"U", "V", "U", "V"} {
			must(t, tell(t.Context(), db, subject, n))
		}
		batch, _ := k.take(2)
		k.back(batch, "U 0")
		batch, lines := k.take(10)
		diff(t, "behind a failure", []string{"V 3"}, lines)
		k.back(batch)
		if batch, lines := k.take(10); batch.Taken || len(lines) > 0 {
			t.Errorf("while it waits: %v", lines)
		}
		k.now = k.now.Add(time.Minute)
		batch, lines = k.take(10)
		diff(t, "when it is due", []string{"U 0", "U 2"}, lines)
		if d := batch.Deliveries[0]; d.Attempts != 1 || !d.FirstTried.Equal(fromMillis(millis(k.now.Add(-time.Minute)))) || d.Said != "no" {
			t.Errorf("what is known of it: %+v", d)
		}
		k.park(DeliveryBatch{Deliveries: batch.Deliveries[:1]})
		_, lines = k.take(10)
		diff(t, "when it is given up", []string{"U 2"}, lines)
	})
}

// Several deliver to one receiver while events are written: each event is
// delivered once, and each subject's in order.
func TestManyWhoDeliverSendEachEventOnce(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		const writers, each, takers = 4, 25, 4
		db := open(t)
		join(t, db, "one", "")
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var mu sync.Mutex
		sent := map[string][]int{}
		var taking, writing sync.WaitGroup
		for n := range takers {
			k := &taker{t, db, "one", fmt.Sprint("holder", n), time.Now()}
			taking.Go(func() {
				for ctx.Err() == nil {
					batch, err := db.TakeDeliveries(t.Context(), k.taking(7))
					if err != nil {
						t.Error(err)
						return
					}
					if !batch.Taken {
						time.Sleep(time.Millisecond)
						continue
					}
					mu.Lock()
					var done []int64
					for _, d := range batch.Deliveries {
						var data struct{ N int }
						if err := json.Unmarshal(d.Data.(json.RawMessage), &data); err != nil {
							t.Error(err)
						}
						sent[d.Subject] = append(sent[d.Subject], data.N)
						done = append(done, d.Seq)
						if len(sent[fmt.Sprint("U", writers-1)]) == each && count(sent) == writers*each {
							stop()
						}
					}
					mu.Unlock()
					if err := db.PutBack(t.Context(), k.taking(0), done, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		want := map[string][]int{}
		for w := range writers {
			subject := fmt.Sprint("U", w)
			for n := range each {
				want[subject] = append(want[subject], n)
			}
			writing.Go(func() {
				for n := range each {
					if err := tell(t.Context(), db, subject, n); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writing.Wait()
		taking.Wait()
		diff(t, "what was sent", want, sent)
	})
}

func count(sent map[string][]int) (n int) {
	for _, all := range sent {
		n += len(all)
	}
	return n
}

func TestReplay(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		w := &world{t: t, db: db}
		k := join(t, db, "one", "a")
		for n := range 4 {
			must(t, tell(t.Context(), db, fmt.Sprint("U", n), n))
		}
		batch, _ := k.take(1)
		k.park(batch) // U0 is given up
		batch, _ = k.take(10)
		k.back(batch, "U2 2") // U1 and U3 are delivered, U2 is tried again
		states, err := db.Receivers(t.Context())
		must(t, err)
		if len(states) != 1 || states[0].Waiting != 1 || states[0].Parked != 1 || states[0].Said != "no" || states[0].Oldest.IsZero() {
			t.Errorf("the receiver: %+v", states)
		}
		join(t, db, "two", "a")
		if states, err = db.Receivers(t.Context(), "one", "three"); err != nil || len(states) != 1 || states[0].ID != "one" {
			t.Errorf("one of two: %+v, %v", states, err)
		}
		parked, err := db.ParkedDeliveries(t.Context(), "one", 0, 10)
		must(t, err)
		if len(parked) != 1 || told(parked[0].Event) != "U0 0" || parked[0].Said != "gone" || parked[0].Attempts != 7 {
			t.Errorf("parked: %+v", parked)
		}
		if more, err := db.ParkedDeliveries(t.Context(), "one", parked[0].Seq, 10); len(more) > 0 || err != nil {
			t.Errorf("behind it: %v, %v", more, err)
		}

		n, err := db.ReplayDeliveries(t.Context(), Replay{ReceiverID: "one", By: byOperator()})
		must(t, err)
		batch, lines := k.take(10)
		diff(t, "what had failed, at once", []string{"U0 0", "U2 2"}, lines)
		diff(t, "their number", 2, n)
		if d := batch.Deliveries[0]; d.Attempts != 0 || !d.FirstTried.IsZero() {
			t.Errorf("it does not begin anew: %+v", d)
		}
		k.park(batch)

		second := batch.Deliveries[0].Seq + 1
		n, err = db.ReplayDeliveries(t.Context(), Replay{ReceiverID: "one", After: &second, By: byOperator()})
		must(t, err)
		_, lines = k.take(10)
		diff(t, "what is behind a place, once more", []string{"U2 2", "U3 3"}, lines)
		diff(t, "their number", 2, n)
		far := int64(1000)
		n, err = db.ReplayDeliveries(t.Context(), Replay{ReceiverID: "one", After: &far, By: byOperator()})
		must(t, err)
		diff(t, "behind a place that is none yet, what waits goes on waiting", 2, n)
		must(t, tell(t.Context(), db, "U4", 4))
		_, lines = k.take(10)
		diff(t, "and what comes", []string{"U2 2", "U3 3", "U4 4"}, lines)
		diff(t, "recorded", []string{"replay one: ticket 12", "replay one: ticket 12", "replay one: ticket 12"}, w.operations())

		if _, err := db.ReplayDeliveries(t.Context(), Replay{ReceiverID: "three", By: byOperator()}); !errors.Is(err, ErrUnknownReceiver) {
			t.Errorf("an unknown receiver: %v", err)
		}
		if _, err := db.ReplayDeliveries(t.Context(), Replay{ReceiverID: "one", By: By{Operator: true}}); !errors.Is(err, ErrNoReason) {
			t.Errorf("without a reason: %v", err)
		}
	})
}

// A receiver that is away for long does not make the deliveries grow without end:
// no more are made while there are enough to send.
func TestDeliveriesAreMadeAsTheyAreSent(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		k := join(t, db, "one", "a")
		for n := range 7 {
			must(t, tell(t.Context(), db, fmt.Sprint("U", n), n))
		}
		made := func(want int) {
			t.Helper()
			diff(t, "deliveries", []string{fmt.Sprint(want)}, linesOf(t, db, `SELECT count(*) FROM wxgate_delivery`))
		}
		k.take(2)
		made(2)
		batch, _ := k.take(2) // none was sent
		made(2)
		k.back(batch, "U0 0", "U1 1")
		batch, lines := k.take(2)
		diff(t, "behind what failed", []string{"U2 2", "U3 3"}, lines)
		made(4)
		k.back(batch)
		made(2)
	})
}

// However much a receiver refuses, such as all events of one type, it is sent
// what it does not, and nobody waits behind what is tried again.
func TestWhatIsRefusedHoldsUpNothingElse(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		k := join(t, db, "one", "a")
		must(t, tell(t.Context(), db, "U", 0))
		batch, _ := k.take(1)
		k.back(batch, "U 0")
		must(t, db.inTx(t.Context(), func(tx *sql.Tx) error {
			var rows []string
			for n := range 20_000 { // of which no event is left, so that it is as if they failed again and again
				rows = append(rows, fmt.Sprintf("('one', %d, 'X%d', 5, 1, %d, 0, '')", -1-n, n, millis(k.now.Add(time.Minute))))
			}
			for some := range slices.Chunk(rows, 1000) {
				_, err := tx.ExecContext(t.Context(), `INSERT INTO wxgate_delivery (receiver_id, seq, subject, attempts, first_tried, due, parked, said)
					VALUES `+strings.Join(some, ", "))
				if err != nil {
					return err
				}
			}
			return nil
		}))
		must(t, tell(t.Context(), db, "U", 1))
		must(t, tell(t.Context(), db, "V", 2))
		batch, lines := k.take(10)
		diff(t, "what is new, but for what follows a failure", []string{"V 2"}, lines)
		k.back(batch)
		k.now = k.now.Add(time.Minute)
		must(t, tell(t.Context(), db, "W", 3))
		batch, lines = k.take(10)
		diff(t, "when it is due again", []string{"U 0", "U 1", "W 3"}, lines)
		k.back(DeliveryBatch{Deliveries: batch.Deliveries[:1]}, "U 0") // no more was tried
		k.now = k.now.Add(30 * time.Second)
		must(t, tell(t.Context(), db, "V", 4))
		_, lines = k.take(10)
		diff(t, "half a minute later", []string{"W 3", "V 4"}, lines)
		k.back(DeliveryBatch{})
		k.now = k.now.Add(time.Minute)
		_, lines = k.take(10)
		diff(t, "by how long it has waited", []string{"W 3", "V 4", "U 0", "U 1"}, lines)
	})
}
