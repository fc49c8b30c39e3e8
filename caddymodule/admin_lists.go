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
		{method: http.MethodGet, path: "events", serve: serveEvents},
	}
}

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// eventView is an event as programs read it.
type eventView struct {
	Seq     int64             `json:"seq"`
	ID      string            `json:"id"`
	Type    account.EventType `json:"type"`
	Subject string            `json:"subject"`
	Time    time.Time         `json:"time"`
	Data    json.RawMessage   `json:"data"`
}

// eventsView is a part of the queue. Next is where the following part begins.
type eventsView struct {
	Events []eventView `json:"events"`
	Next   int64       `json:"next"`
}

func serveEvents(c *adminCall) error {
	after, err := c.number("after", 0)
	if err != nil {
		return err
	}
	limit, err := c.limit()
	if err != nil {
		return err
	}
	events, err := c.db.Events(c, after, limit)
	if err != nil {
		return err
	}
	view := eventsView{Events: make([]eventView, len(events)), Next: after}
	for i, e := range events {
		data, _ := e.Data.(json.RawMessage)
		view.Events[i] = eventView{Seq: e.Seq, ID: e.ID, Type: e.Type, Subject: e.Subject, Time: e.Time, Data: data}
		view.Next = e.Seq
	}
	return c.answer(view)
}

// number reads a parameter of the URL that is no person's name.
func (c *adminCall) number(name string, missing int64) (int64, error) {
	text := c.r.URL.Query().Get(name)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, newProblem(http.StatusBadRequest, "malformed", name+" is no number of 0 or more")
	}
	return n, nil
}

func (c *adminCall) limit() (int, error) {
	n, err := c.number("limit", defaultLimit)
	if err == nil && (n == 0 || n > maxLimit) {
		err = newProblem(http.StatusBadRequest, "malformed", "limit is not between 1 and "+strconv.Itoa(maxLimit))
	}
	return int(n), err
}
