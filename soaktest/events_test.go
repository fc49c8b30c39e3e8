package soaktest

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// feed reads all events that the gateways have written.
func (w *world) feed() (all []event) {
	w.t.Helper()
	for after := int64(0); ; {
		var page struct {
			Events []event
			Next   int64
		}
		if status := w.ask(fmt.Sprint("/events?limit=1000&after=", after), &page); status != http.StatusOK {
			w.t.Fatalf("the feed answers %d", status)
		}
		if len(page.Events) == 0 {
			return all
		}
		all, after = append(all, page.Events...), page.Next
	}
}

// delivered waits until the shop has heard of everything, and of each merge a
// minute later once more. It wants each subject's events in their order.
func (w *world) delivered() {
	w.t.Helper()
	for begun := time.Now(); ; time.Sleep(time.Second) {
		missing := w.unheard()
		if missing == "" {
			return
		}
		if time.Since(begun) > 10*time.Minute {
			w.t.Fatalf("the shop has not heard of all: %s", missing)
		}
	}
}

// unheard says what the shop has yet to hear of, empty if it is nothing.
func (w *world) unheard() string {
	w.t.Helper()
	want, unsettled := map[string][]string{}, map[string]bool{}
	for _, e := range w.feed() {
		want[e.Subject] = append(want[e.Subject], e.ID)
		switch e.Type {
		case "wxgate.user.merged":
			unsettled[e.Data.From] = true
		case "wxgate.user.merge_settled":
			delete(unsettled, e.Data.From)
		}
	}
	if len(unsettled) > 0 {
		return fmt.Sprint(len(unsettled), " merges are not settled")
	}
	w.shop.mu.Lock()
	defer w.shop.mu.Unlock()
	for subject, ids := range want {
		heard := w.shop.heard[subject]
		if len(heard) < len(ids) {
			return fmt.Sprintf("%s: of %v it has heard %v", subject, ids, heard)
		}
		if !slices.Equal(heard, ids) {
			w.t.Errorf("the events of %s came as %v, not %v", subject, heard, ids)
		}
	}
	return ""
}
