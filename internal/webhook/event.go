package webhook

import (
	"context"
	"time"

	"github.com/wxgate/wxgate/internal/account"
)

const (
	eventType   = "application/cloudevents+json"
	eventPrefix = "wxgate."
	eventSource = "/wxgate"
)

// cloudEvent is an event in the JSON form of CloudEvents 1.0.
type cloudEvent struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject"`
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        any       `json:"data"`
}

// eventTimeout bounds the sending of one event, for which nobody waits.
const eventTimeout = 10 * time.Second

// sendEvent sends an event once. answered is what post says of it.
func (e *Endpoint) sendEvent(ctx context.Context, event account.Event) (answered bool, err error) {
	body := encode(cloudEvent{
		SpecVersion: "1.0", ID: event.ID, Source: eventSource, Type: eventPrefix + string(event.Type), Subject: event.Subject,
		Time: event.Time, ContentType: "application/json", Data: event.Data,
	})
	_, answered, err = e.post(ctx, message{id: event.ID, contentType: eventType, body: body, within: eventTimeout})
	return answered, err
}
