package webhook

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/wxgate/wxgate/internal/account"
)

const (
	eventType   = "application/cloudevents+json"
	eventPrefix = "wxgate."
	eventSource = "/wxgate"
)

// CloudEvent is an event in the JSON form of CloudEvents 1.0.
type CloudEvent struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject"`
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        any       `json:"data"`
}

// NewCloudEvent is the form in which the shop gets an event, from a webhook or in
// the feed.
func NewCloudEvent(e account.Event) CloudEvent {
	return CloudEvent{
		SpecVersion: "1.0", ID: e.ID, Source: eventSource, Type: eventPrefix + string(e.Type), Subject: e.Subject,
		Time: e.Time, ContentType: "application/json", Data: e.Data,
	}
}

// eventTimeout bounds the sending of one event, for which nobody waits.
const eventTimeout = 10 * time.Second

// sendEvent sends an event once. answered is what post says of it, but for a
// 500: a program that fails at one event is there, and may take the next.
func (e *Endpoint) sendEvent(ctx context.Context, d account.Delivery) (answered bool, err error) {
	m := message{id: d.ID, contentType: eventType, body: encode(NewCloudEvent(d.Event)), within: eventTimeout, deaf: true, origin: d.Origin}
	_, answered, err = e.post(ctx, m)
	if s := (*StatusError)(nil); errors.As(err, &s) && s.Status == http.StatusInternalServerError {
		answered = true
	}
	return answered, err
}
