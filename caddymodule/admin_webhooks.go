package caddymodule

import (
	"net/http"
	"slices"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/webhook"
)

// webhookRoutes are the routes of what is delivered to webhooks.
func webhookRoutes() []adminRoute {
	return []adminRoute{
		get("events/webhooks", serveWebhooks),
		get("events/failed", serveFailed),
		post("events/replay", serveReplay),
	}
}

// webhookView is how far a webhook has got.
type webhookView struct {
	ID         string     `json:"id"`
	URL        string     `json:"url"`        // without its query, which may be secret
	Configured bool       `json:"configured"` // in the configuration that answers
	Seen       time.Time  `json:"seen"`       // when it was in a configuration last, to the hour
	Waiting    int        `json:"waiting"`
	Failed     int        `json:"failed"`
	Oldest     *time.Time `json:"oldest,omitempty"` // of the events that wait
	Said       string     `json:"said,omitempty"`   // how the last attempt in vain ended
}

type webhooksView struct {
	Webhooks []webhookView `json:"webhooks"`
}

func serveWebhooks(c *adminCall) error {
	states, err := c.db.Receivers(c)
	if err != nil {
		return err
	}
	view := webhooksView{Webhooks: []webhookView{}}
	for _, s := range states {
		v := webhookView{
			ID: s.ID, URL: s.Name, Seen: s.Seen, Waiting: s.Waiting, Failed: s.Parked, Said: s.Said,
			Configured: slices.ContainsFunc(c.app.senders, func(d *webhook.Deliverer) bool { return d.Receiver().ID == s.ID }),
		}
		if !s.Oldest.IsZero() {
			v.Oldest = &s.Oldest
		}
		view.Webhooks = append(view.Webhooks, v)
	}
	return c.answer(view)
}

// webhook finds the webhook that is asked for, by its id or as the only one.
func (c *adminCall) webhook(id string) (string, error) {
	states, err := c.db.Receivers(c)
	if err != nil {
		return "", err
	}
	switch {
	case slices.ContainsFunc(states, func(s account.ReceiverState) bool { return s.ID == id }):
		return id, nil
	case id != "":
		return "", account.ErrUnknownReceiver
	case len(states) == 0:
		return "", newProblem(http.StatusNotFound, "unknown_webhook", "there is no webhook")
	case len(states) > 1:
		return "", newProblem(http.StatusConflict, "several_webhooks", "there are several webhooks: name one by its id")
	}
	return states[0].ID, nil
}

// failedView is an event that was given up.
type failedView struct {
	eventView
	Attempts   int       `json:"attempts"`
	FirstTried time.Time `json:"first_tried"`
	GivenUp    time.Time `json:"given_up"`
	Said       string    `json:"said"`
}

// failuresView is a part of the list. Next, where there is one, is what `after`
// of the following part has to be.
type failuresView struct {
	Webhook string       `json:"webhook"`
	Events  []failedView `json:"events"`
	Next    int64        `json:"next,omitempty"`
}

func serveFailed(c *adminCall) error {
	after, limit, err := part(c.r)
	if err != nil {
		return err
	}
	id, err := c.webhook(c.r.URL.Query().Get("webhook"))
	if err != nil {
		return err
	}
	parked, err := c.db.ParkedDeliveries(c, id, after, limit)
	if err != nil {
		return err
	}
	view := failuresView{Webhook: id, Events: make([]failedView, len(parked))}
	for i, d := range parked {
		v, err := viewEvent(d.Event)
		if err != nil {
			return err
		}
		view.Events[i] = failedView{v, d.Attempts, d.FirstTried, d.Parked, d.Said}
	}
	if len(parked) == limit {
		view.Next = parked[limit-1].Seq
	}
	return c.answer(view)
}

type replayRequest struct {
	Webhook string `json:"webhook,omitempty"`
	After   *int64 `json:"after,omitempty"`
	reasoned
}

type replayedView struct {
	Webhook string `json:"webhook"`
	Events  int    `json:"events"` // that are to be sent now
}

func serveReplay(c *adminCall) error {
	var in replayRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.DryRun {
		return malformed("there is nothing to try: it changes no account")
	}
	if in.After != nil && *in.After < 0 {
		return malformed("after is not a number of 0 or more")
	}
	id, err := c.webhook(in.Webhook)
	if err != nil {
		return err
	}
	n, err := c.db.ReplayDeliveries(c, account.Replay{ReceiverID: id, After: in.After, By: in.by()})
	if err != nil {
		return err
	}
	return c.answer(replayedView{id, n})
}
