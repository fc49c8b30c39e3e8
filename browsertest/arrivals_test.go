package browsertest

import (
	"sync"

	"github.com/chromedp/cdproto/page"
)

// arrivals counts how often a tab's page has given way to another.
type arrivals struct {
	mu sync.Mutex
	n  int
}

// note takes an event of the browser.
func (a *arrivals) note(event any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch e := event.(type) {
	case *page.EventFrameNavigated:
		if e.Frame.ParentID == "" {
			a.n++
		}
	case *page.EventNavigatedWithinDocument:
		a.n++
	}
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}
