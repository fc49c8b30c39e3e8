package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/wxgate/wxgate/internal/account"
)

// checkupType is of a message that is no event: a receiver takes it as it takes
// every type that it does not know, and does nothing.
const checkupType = "checkup"

// Checkup is what a receiver makes of messages that are no events.
type Checkup struct {
	// Err says that it does not take what is signed with our secrets: a
	// *StatusError, or that it was not reached.
	Err error
	// Credulous says that it takes what a stranger has signed.
	Credulous bool
}

// Check sends a message that is no event, and is stored nowhere: with our
// signature, and, if that is taken, with a stranger's.
func (d *Deliverer) Check(ctx context.Context) (c Checkup) {
	if _, c.Err = d.Endpoint.sendCheckup(ctx); c.Err != nil {
		return c
	}
	key := make([]byte, minSecret)
	_, _ = rand.Read(key) // it never fails
	stranger, err := standardwebhooks.NewWebhookRaw(key)
	if err != nil {
		c.Err = err
		return c
	}
	e := &Endpoint{url: d.Endpoint.url, client: d.Endpoint.client, signers: []*standardwebhooks.Webhook{stranger}}
	_, err = e.sendCheckup(ctx)
	var refused *StatusError
	if c.Credulous = err == nil; err != nil && !errors.As(err, &refused) {
		c.Err = err
	}
	return c
}

func (e *Endpoint) sendCheckup(ctx context.Context) (answered bool, err error) {
	id := "checkup_" + rand.Text()
	return e.sendEvent(ctx, account.Delivery{Event: account.Event{ID: id, Type: checkupType, Subject: id, Time: time.Now(), Data: map[string]string{}}})
}
