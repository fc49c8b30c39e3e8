package caddymodule

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/wxgate/wxgate/internal/account"
)

// listRoutes are the routes of what is read in parts.
func listRoutes() []adminRoute {
	return []adminRoute{
		get("events", serveEvents),
		get("report/first-login", serveFirstLogin),
		get("conflicts", serveConflicts),
		post("conflicts/close", serveCloseConflict),
		post("operations/list", serveOperations),
	}
}

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// eventView is an event as programs read it.
type eventView struct {
	Seq     int64             `json:"seq,omitempty"` // 0: it has no place in the feed yet
	ID      string            `json:"id"`
	Type    account.EventType `json:"type"`
	Subject string            `json:"subject"`
	Time    time.Time         `json:"time"`
	Data    json.RawMessage   `json:"data"`
}

// eventsView is a part of the queue. Next is where the following part begins;
// Lost says that events behind the cursor are gone.
type eventsView struct {
	Events []eventView `json:"events"`
	Next   int64       `json:"next"`
	Lost   bool        `json:"lost,omitempty"`
}

// serveEvents answers with what follows a position, or with the newest events.
func serveEvents(c *adminCall) error {
	after, limit, err := part(c.r)
	if err != nil {
		return err
	}
	var page account.EventPage
	if c.r.URL.Query().Has("after") {
		page, err = c.db.Events(c, after, limit)
	} else {
		page, err = c.db.LastEvents(c, limit)
	}
	if err != nil {
		return err
	}
	view := eventsView{Events: make([]eventView, len(page.Events)), Next: page.Next, Lost: page.Lost}
	for i, e := range page.Events {
		if view.Events[i], err = viewEvent(e); err != nil {
			return err
		}
	}
	return c.answer(view)
}

// conflictsView is a part of the list, newest first. Next, where there is one,
// is what `after` of the following part has to be.
type conflictsView struct {
	Conflicts []account.ConflictRecord `json:"conflicts"`
	Next      string                   `json:"next,omitempty"`
}

func serveConflicts(c *adminCall) error {
	limit, err := limitOf(c.r)
	if err != nil {
		return err
	}
	query := c.r.URL.Query()
	list, err := c.db.Conflicts(c, query.Get("state") == "closed", account.Page{After: query.Get("after"), Limit: limit})
	if err != nil {
		return err
	}
	view := conflictsView{Conflicts: listed(list)}
	if len(list) == limit {
		view.Next = list[limit-1].ID
	}
	return c.answer(view)
}

type closeRequest struct {
	ID string `json:"id"`
	reasoned
}

func serveCloseConflict(c *adminCall) error {
	var in closeRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.DryRun {
		return malformed("there is nothing to try: it changes no account")
	}
	if err := c.db.CloseConflict(c, in.ID, in.by()); err != nil {
		return err
	}
	return c.answer(changedView{Code: account.CodeOK, Events: []eventView{}})
}

// operationsRequest asks for what operators did, to one subject if it is given:
// a user, a conflict or an app.
type operationsRequest struct {
	Subject string `json:"subject,omitempty"`
	After   string `json:"after,omitempty"`
	Limit   int    `json:"limit,omitempty"`
}

// operationsView is a part of the list, newest first.
type operationsView struct {
	Operations []account.OperationRecord `json:"operations"`
	Next       string                    `json:"next,omitempty"`
}

func serveOperations(c *adminCall) error {
	in := operationsRequest{Limit: defaultLimit}
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.Limit < 1 || in.Limit > maxLimit {
		return errLimit()
	}
	list, err := c.db.Operations(c, in.Subject, account.Page{After: in.After, Limit: in.Limit})
	if err != nil {
		return err
	}
	view := operationsView{Operations: listed(list)}
	if len(list) == in.Limit {
		view.Next = list[in.Limit-1].ID
	}
	return c.answer(view)
}

// firstLoginView is what to expect of a change of first_login, which is Now.
type firstLoginView struct {
	Now string `json:"first_login"`
	account.FirstLoginReport
}

func serveFirstLogin(c *adminCall) error {
	report, err := c.db.FirstLoginReport(c)
	if err != nil {
		return err
	}
	return c.answer(firstLoginView{c.app.FirstLogin, report})
}

// number reads a parameter of the URL. What names a person is never one.
func number(r *http.Request, name string, missing int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, malformed(name + " is not a number of 0 or more")
	}
	return n, nil
}

func limitOf(r *http.Request) (int, error) {
	n, err := number(r, "limit", defaultLimit)
	if err == nil && (n < 1 || n > maxLimit) {
		err = errLimit()
	}
	return int(n), err
}

// part reads which part of the feed is asked for: what is behind a position.
func part(r *http.Request) (after int64, limit int, err error) {
	if after, err = number(r, "after", 0); err == nil {
		limit, err = limitOf(r)
	}
	return after, limit, err
}

func errLimit() error { return malformed("limit is not between 1 and " + strconv.Itoa(maxLimit)) }

// listed makes an empty list of none, for programs that expect one.
func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func get(path string, serve func(*adminCall) error) adminRoute {
	return adminRoute{method: http.MethodGet, path: path, serve: serve}
}

func post(path string, serve func(*adminCall) error) adminRoute {
	return adminRoute{method: http.MethodPost, path: path, accepts: []string{typeJSON}, serve: serve}
}
