package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestDeliveriesModel tries whatever may happen to deliveries, in any order, and
// compares them with what waits: a batch holds the next events of its subjects,
// and nothing is lost, also if attempts fail, are given up, replayed, or ended by
// another who has taken over.
func TestDeliveriesModel(t *testing.T) {
	db := newDB(t)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := &deliveryModel{t: t, rt: rt, db: db, receiver: fmt.Sprint("receiver", runs), now: time.Now(),
			waiting: map[string][]int{}, parked: map[string][]int{}, all: map[string][]int{}}
		must(t, db.AddReceiver(t.Context(), Receiver{ID: m.receiver}, m.now))
		rt.Repeat(map[string]func(*rapid.T){
			"event": func(rt *rapid.T) { m.event(rapid.SampledFrom([]string{"U", "V", "W"}).Draw(rt, "subject")) },
			"deliver": func(rt *rapid.T) {
				m.deliver(rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "holder"), rapid.IntRange(1, 6).Draw(rt, "limit"))
			},
			"time":        func(rt *rapid.T) { m.now = m.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(rt, "s")) * time.Second) },
			"replay":      func(*rapid.T) { m.replay(nil) },
			"replay from": func(rt *rapid.T) { m.replay(m.place(rapid.IntRange(0, 20).Draw(rt, "back"))) },
		})
		m.now = m.now.Add(time.Hour)
		m.wantsAll()
	})
}

// deliveryModel knows of each event, by its number, whether it waits or is given
// up.
type deliveryModel struct {
	t        *testing.T
	rt       *rapid.T
	db       *DB
	receiver string
	now      time.Time
	told     int

	places               []int64 // of events, by number
	waiting, parked, all map[string][]int
}

func (m *deliveryModel) event(subject string) {
	must(m.t, tell(m.t.Context(), m.db, subject, m.told))
	page, err := m.db.LastEvents(m.t.Context(), 1)
	must(m.t, err)
	m.places = append(m.places, page.Events[0].Seq)
	m.waiting[subject] = append(m.waiting[subject], m.told)
	m.all[subject] = append(m.all[subject], m.told)
	m.told++
}

func (m *deliveryModel) taking(holder string, limit int) Taking {
	return Taking{ReceiverID: m.receiver, Holder: holder, Now: m.now, Until: m.now.Add(20 * time.Second), Limit: limit}
}

// take takes a batch and checks it.
func (m *deliveryModel) take(holder string, limit int) DeliveryBatch {
	batch, err := m.db.TakeDeliveries(m.t.Context(), m.taking(holder, limit))
	must(m.t, err)
	got := map[string][]int{}
	for _, d := range batch.Deliveries {
		got[d.Subject] = append(got[d.Subject], numberOf(m.t, d))
	}
	for subject, numbers := range got {
		if want := m.waiting[subject]; len(numbers) > len(want) || !slices.Equal(numbers, want[:len(numbers)]) {
			m.rt.Fatalf("a batch has %v of %s, and %v wait", numbers, subject, want)
		}
	}
	return batch
}

func numberOf(t *testing.T, d Delivery) int {
	t.Helper()
	var data struct{ N int }
	must(t, json.Unmarshal(d.Data.(json.RawMessage), &data))
	return data.N
}

// deliver takes a batch and puts it back, unless another one takes over.
func (m *deliveryModel) deliver(holder string, limit int) {
	batch := m.take(holder, limit)
	if !batch.Taken {
		return
	}
	var delivered []int64
	var failed []Delivery
	var then []func()
	over := map[string]bool{} // subjects of which one has failed, or none was tried any more
	for _, d := range batch.Deliveries {
		outcome := rapid.SampledFrom([]string{"delivered", "delivered", "failed", "parked", "untried"}).Draw(m.rt, "outcome")
		if over[d.Subject] || outcome == "untried" {
			over[d.Subject] = true
			continue
		}
		if outcome == "delivered" {
			delivered = append(delivered, d.Seq)
			then = append(then, func() { m.waiting[d.Subject] = m.waiting[d.Subject][1:] })
			continue
		}
		over[d.Subject] = true
		d.Attempts, d.FirstTried, d.Due = d.Attempts+1, m.now, m.now.Add(time.Duration(rapid.IntRange(1, 120).Draw(m.rt, "due"))*time.Second)
		if outcome == "parked" {
			d.Parked = m.now
			then = append(then, func() {
				m.waiting[d.Subject] = m.waiting[d.Subject][1:]
				m.parked[d.Subject] = append(m.parked[d.Subject], numberOf(m.t, d))
			})
		}
		failed = append(failed, d)
	}
	late := rapid.IntRange(0, 9).Draw(m.rt, "late") == 0
	if late {
		m.now = m.now.Add(time.Minute)
		other := m.taking("c", 1)
		next := m.take("c", 1)
		if next.Taken {
			must(m.t, m.db.PutBack(m.t.Context(), other, nil, nil))
		}
	}
	err := m.db.PutBack(m.t.Context(), m.taking(holder, limit), delivered, failed)
	if errors.Is(err, ErrTakenOver) && late {
		return
	}
	must(m.t, err)
	for _, f := range then {
		f()
	}
}

// place is that of an event some way back; nil where there is none yet.
func (m *deliveryModel) place(back int) *int64 {
	if m.told == 0 {
		return nil
	}
	return &m.places[max(0, m.told-1-back)]
}

func (m *deliveryModel) replay(after *int64) {
	_, err := m.db.ReplayDeliveries(m.t.Context(), Replay{ReceiverID: m.receiver, After: after, By: byOperator()})
	must(m.t, err)
	for subject, all := range m.all {
		again := m.parked[subject]
		if after != nil {
			again = slices.DeleteFunc(slices.Clone(all), func(n int) bool { return m.places[n] <= *after })
			m.parked[subject] = slices.DeleteFunc(m.parked[subject], func(n int) bool { return m.places[n] > *after })
		} else {
			m.parked[subject] = nil
		}
		waiting := append(slices.Clone(m.waiting[subject]), again...)
		slices.Sort(waiting)
		m.waiting[subject] = slices.Compact(waiting)
	}
}

// wantsAll takes all that waits, and nothing else.
func (m *deliveryModel) wantsAll() {
	batch := m.take("z", 1000)
	want := 0
	for _, numbers := range m.waiting {
		want += len(numbers)
	}
	if len(batch.Deliveries) != want {
		m.rt.Fatalf("%d wait, and %d are taken", want, len(batch.Deliveries))
	}
	if batch.Taken {
		must(m.t, m.db.PutBack(m.t.Context(), m.taking("z", 0), nil, nil))
	}
}
