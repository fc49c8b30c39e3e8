package soaktest

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// outcome of a request, as a visitor sees it.
type outcome string

const (
	served      outcome = "served"
	nobody      outcome = "served as nobody"
	step        outcome = "a page of ours"
	unavailable outcome = "503 with Retry-After"
	limited     outcome = "429 with Retry-After"
	again       outcome = "has to do it again" // a code or a session was lost, and he knows why
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

// usual is what visitors see without a fault. A new visitor is served as a guest
// or as who WeChat says he is.
func usual() map[column][]outcome {
	return map[column][]outcome{
		known: {served}, inside: {served}, beyond: {served}, login: {served, step, limited, again},
	}
}

// phrases are what the cells of the table in docs/operations.md mean, besides
// the usual. A cell that is not here has changed and is to be looked at.
func phrases() map[string][]outcome {
	return map[string][]outcome{
		"nothing": nil,
		"nothing; the shop hears of merges later, by the webhook, and at once in `X-User-Previous-ID` of each visit": nil,
		"become guests": nil,
		"become guests after at most 5 s, are asked again after 10 minutes": nil,
		"a page that says so, with a way to try again":                      {unavailable},
		"are served from the memory of a gateway that knows them, for `stale_for` (10 minutes), elsewhere and later as nobody; login paths answer 503": {nobody, unavailable},
		"nobody: no id is given out to a browser that carries one of ours":                                                                             {nobody},
		"get a guest id while reserved ones last":                                                                                                      {nobody}, // a gateway that has just begun has none
		"503 with Retry-After": {unavailable},
		"are recognised where the balancer sends them back to the same gateway, else become guests for 10 minutes": nil,
		"WeChat and QR codes work on one gateway, like recognition; a code by SMS is a 503 with Retry-After":       {unavailable},
		"start the round again": nil,
		"tap once more; a code that was sent has expired; limits begin anew":                         nil,
		"tap once more; a code that was being checked has expired":                                   {lost},
		"a request that is under way there is cut off; nothing else: another gateway takes the next": {lost},
	}
}

// table counts what visitors see during each fault.
type table struct {
	w     *world
	mu    sync.Mutex
	fault string // the present one, empty if there is none
	// underWay are the requests that began since it did.
	underWay *sync.WaitGroup
	seen     map[cell]map[outcome]int
	took     map[cell]time.Duration          // the longest
	first    map[cell]map[outcome]*household // who saw it
}

type cell struct {
	fault  string
	column column
}

// during begins a fault.
func (t *table) during(fault string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault, t.underWay = fault, new(sync.WaitGroup)
}

// over ends a fault, and waits until the requests that began during it have
// ended: the next fault is not to blame for them, nor this one for what the next
// does to them.
func (t *table) over() {
	t.mu.Lock()
	underWay := t.underWay
	t.mu.Unlock()
	t.during("")
	underWay.Wait()
}

// begin tells a request that begins what fault there is. It calls ended in the
// end.
func (t *table) begin() (fault string, ended func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.underWay.Add(1)
	return t.fault, t.underWay.Done
}

// databaseWait is how long a visitor waits for the database, after which it is
// as good as gone.
const databaseWait = 2 * time.Second

// count takes an answer to a request that began during a fault, or ended during
// one.
func (t *table) count(d *device, c column, a answer) {
	h, o := d.home, a.is()
	if d.excused(o) {
		c, o = login, again
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := cell{a.during, c}
	switch {
	case (o == unavailable || o == nobody) && a.took >= databaseWait:
		at.fault = databaseGone // on a machine that has too much to do
	case a.during == "":
		at.fault = t.fault
	}
	if t.seen[at] == nil {
		t.seen[at], t.first[at] = map[outcome]int{}, map[outcome]*household{}
	}
	t.took[at] = max(t.took[at], a.took)
	t.seen[at][o]++
	if t.first[at][o] == nil {
		t.first[at][o] = h
	}
	if o == wrong {
		h.wrong("during %q: %d %s at %s: %.300s", at.fault, a.status, a.code, a.url, a.body)
	}
}

// compare wants that visitors have seen what docs/operations.md says, and that
// somebody has looked.
func (t *table) compare() {
	t.w.t.Helper()
	rows := documented(t.w)
	for _, f := range faults() {
		if rows[f.row] == nil {
			t.w.t.Errorf("docs/operations.md does not say what visitors see when %s", f.row)
		}
	}
	for at, seen := range t.seen {
		allowed := usual()[at.column]
		if at.fault != "" {
			says := rows[at.fault][at.column]
			more, ok := phrases()[says]
			if !ok {
				t.w.t.Errorf("what does docs/operations.md mean by %q?", says)
			}
			allowed = append(allowed, more...)
		}
		for o, n := range seen {
			if !slices.Contains(allowed, o) {
				t.first[at][o].wrong("when %s, of %s %d were %s, which docs/operations.md does not say", at.fault, at.column, n, o)
			}
		}
	}
	for _, f := range faults() {
		for c := range usual() {
			if t.seen[cell{f.row, c}] == nil {
				t.w.t.Errorf("when %s, nobody looked what becomes of %s", f.row, c)
			}
		}
	}
}

// documented reads the table of docs/operations.md.
func documented(w *world) map[string]map[column]string {
	w.t.Helper()
	raw, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		w.t.Fatal(err)
	}
	rows := map[string]map[column]string{}
	var columns []string
	for line := range strings.Lines(string(raw)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case cells[0] == "fault":
			columns = cells
		case columns == nil || len(cells) != len(columns):
			if len(rows) > 0 {
				return rows
			}
		default:
			rows[cells[0]] = map[column]string{}
			for i, name := range columns {
				if cells[i] == "the same" {
					cells[i] = cells[i-1]
				}
				rows[cells[0]][column(name)] = cells[i]
			}
		}
	}
	return rows
}

func (t *table) String() string {
	var lines []string
	for at, seen := range t.seen {
		for _, o := range slices.Sorted(maps.Keys(seen)) {
			lines = append(lines, fmt.Sprintf("%-45s | %-24s | %-22s %6d, at most %s", at.fault, at.column, o, seen[o], t.took[at].Round(time.Millisecond)))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
