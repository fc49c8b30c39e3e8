package account

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"
)

// What a receiver has not had outlives what others have read, but not for ever.
func TestUndeliveredEventsAreNotPruned(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		k := join(t, db, "one", "a")
		now := time.Now()
		for n := range 4 {
			must(t, tell(t.Context(), db, fmt.Sprint("U", n), n))
		}
		batch, _ := k.take(2)
		k.back(batch, "U1 1")
		prune := func(at time.Time, used bool) []string {
			t.Helper()
			if used {
				must(t, db.AddReceiver(t.Context(), Receiver{ID: "one"}, at))
			}
			must(t, db.Prune(t.Context(), at))
			return linesOf(t, db, `SELECT subject FROM wxgate_event ORDER BY seq`)
		}
		late := now.Add(EventsKept + time.Hour)
		diff(t, "what was not delivered is kept", []string{"U1", "U2", "U3"}, prune(late, true))
		k.now = late
		batch, lines := k.take(10)
		diff(t, "and delivered", []string{"U1 1", "U2 2", "U3 3"}, lines)
		k.back(batch, "U2 2")
		diff(t, "then it goes", []string{"U2", "U3"}, prune(late, true))
		k.now = late.Add(time.Hour)
		batch, _ = k.take(10)
		k.park(batch)
		diff(t, "what is parked is kept", []string{"U2", "U3"}, prune(k.now.Add(time.Hour), true))
		diff(t, "for as long as an event is", []string(nil), prune(k.now.Add(EventsKept+time.Hour), true))

		must(t, tell(t.Context(), db, "U4", 4))
		diff(t, "what nobody fetches", []string{"U4"}, prune(now.Add(undeliveredKept-time.Hour), true))
		diff(t, "goes in the end", []string(nil), prune(now.Add(undeliveredKept+time.Hour), true))
		if batch, lines := k.take(10); len(lines) > 0 {
			t.Errorf("it is sent what is gone: %v %v", batch, lines)
		}
		must(t, tell(t.Context(), db, "U5", 5))
		last := now.Add(undeliveredKept + time.Hour)
		diff(t, "a receiver that is in no configuration", []string(nil), prune(last.Add(EventsKept+time.Hour), false))
		diff(t, "is forgotten", []string(nil), linesOf(t, db, `SELECT id FROM wxgate_receiver`))
	})
}

func TestWhatWasGivenUpIsKeptAsLongAsAnEvent(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		k := join(t, db, "one", "a")
		must(t, tell(t.Context(), db, "U", 1))
		batch, _ := k.take(1)
		k.now = k.now.Add(72 * time.Hour)
		k.park(batch)
		for _, tt := range []struct {
			after time.Duration
			want  []string
		}{{EventsKept - time.Hour, []string{"U"}}, {EventsKept + time.Hour, nil}} {
			at := k.now.Add(tt.after)
			must(t, db.AddReceiver(t.Context(), Receiver{ID: "one"}, at))
			must(t, db.Prune(t.Context(), at))
			diff(t, "after "+tt.after.String(), tt.want, linesOf(t, db, `SELECT subject FROM wxgate_event`))
		}
	})
}

// mergeEvent writes a user.merged.
func mergeEvent(t *testing.T, db *DB, from string, at time.Time) {
	t.Helper()
	must(t, db.inTx(t.Context(), func(tx *sql.Tx) error {
		c := &change{ctx: t.Context(), tx: tx, at: at}
		return c.emit(EventUserMerged, "U", Merged{From: from, To: "U", FromKind: Guest, ToKind: Member, Reason: "login", Aliases: []string{from}})
	}))
}

// The last request under an old id begins when its session is served no more, and
// then has half a minute to write.
func TestAMergeIsSettledWhenNobodyWritesUnderTheOldID(t *testing.T) {
	const quiet = RotationGrace + 30*time.Second
	onEach(t, func(t *testing.T, open opener) {
		db := open(t)
		now := time.Now()
		merges := func() (lines []string) {
			page, err := db.Events(t.Context(), 0, 1000)
			must(t, err)
			for _, e := range page.Events {
				var m Merged
				must(t, json.Unmarshal(e.Data.(json.RawMessage), &m))
				if e.Type == EventUserMerged || e.Type == EventMergeSettled {
					lines = append(lines, fmt.Sprint(e.Type, " ", e.Subject, " ", m.Aliases, " ", m.ToKind))
				}
			}
			return lines
		}
		mergeEvent(t, db, "V1", now)
		must(t, tell(t.Context(), db, "U", 1))
		must(t, db.SettleMerges(t.Context(), now.Add(quiet-time.Second)))
		diff(t, "before", []string{"user.merged U [V1] member"}, merges())
		mergeEvent(t, db, "V2", now.Add(30*time.Second))
		for range 3 {
			must(t, db.SettleMerges(t.Context(), now.Add(quiet+time.Second)))
		}
		want := []string{"user.merged U [V1] member", "user.merged U [V2] member", "user.merge_settled U [V1] member"}
		diff(t, "the first, once", want, merges())

		for range settleBatch + 5 {
			must(t, tell(t.Context(), db, "U", 1))
		}
		var settling sync.WaitGroup
		for range 6 {
			settling.Go(func() {
				if err := db.SettleMerges(t.Context(), now.Add(time.Hour)); err != nil {
					t.Error(err)
				}
			})
		}
		settling.Wait()
		diff(t, "the second, once, however many look", append(want, "user.merge_settled U [V2] member"), merges())
		mergeEvent(t, db, "V3", now)
		must(t, db.SettleMerges(t.Context(), now.Add(time.Hour)))
		diff(t, "one behind many events", append(want, "user.merge_settled U [V2] member", "user.merged U [V3] member", "user.merge_settled U [V3] member"), merges())
	})
}

// A replay that comes while somebody takes what is next sends that once more,
// and leaves nothing behind that would be in the way of sending it.
func TestReplayWhileTheNextEventsAreTaken(t *testing.T) {
	onServers(t, func(t *testing.T, open opener) {
		db := open(t)
		k := join(t, db, "one", "a")
		for n := range 4 {
			must(t, tell(t.Context(), db, fmt.Sprint("U", n), n))
		}
		batch, _ := k.take(2)
		k.back(batch)
		place := batch.Deliveries[0].Seq

		replayed := make(chan error)
		must(t, db.inTx(t.Context(), func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(t.Context(), `UPDATE wxgate_receiver SET holder = 'b' WHERE id = 'one'`); err != nil {
				return err
			}
			if err := pullEvents(t.Context(), tx, k.taking(2)); err != nil {
				return err
			}
			go func() {
				_, err := db.ReplayDeliveries(t.Context(), Replay{ReceiverID: "one", After: &place, By: byOperator()})
				replayed <- err
			}()
			time.Sleep(200 * time.Millisecond) // it gets as far as it can
			return nil
		}))
		must(t, <-replayed)
		_, lines := k.take(10)
		diff(t, "what is behind the place", []string{"U1 1", "U2 2", "U3 3"}, lines)
	})
}
