package soaktest

import (
	"fmt"
	"sort"
	"strings"
	"sync"
)

// outcome of a request, as a visitor sees it.
type outcome string

const (
	served      outcome = "served"
	nobody      outcome = "served as nobody"
	step        outcome = "a page of ours"
	unavailable outcome = "503 with Retry-After"
	limited     outcome = "429 with Retry-After"
	refused     outcome = "refused"
	lost        outcome = "connection lost"
	wrong       outcome = "WRONG"
)

// column of the table of faults.
type column string

const (
	known  column = "visitors who are known"
	inside column = "new visitors in WeChat"
	beyond column = "new visitors elsewhere"
	login  column = "who wants to log in"
)

// table counts what visitors see during each fault.
type table struct {
	mu    sync.Mutex
	fault string // the present one
	seen  map[cell]int
	w     *world
}

type cell struct {
	fault  string
	column column
	outcome
}

func (t *table) count(c column, a answer) {
	o := a.is()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen[cell{t.fault, c, o}]++
	if o == wrong {
		t.w.t.Errorf("%s: %d %s at %s: %.300s", t.fault, a.status, a.code, a.url, a.body)
	}
}

func (t *table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for c, n := range t.seen {
		lines = append(lines, fmt.Sprintf("%-40s | %-24s | %-22s %6d", c.fault, c.column, c.outcome, n))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}
