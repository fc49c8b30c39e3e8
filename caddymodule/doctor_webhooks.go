package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/webhook"
)

// webhooks looks whether the shop takes events, and which it has missed.
func (up checkup) webhooks(ctx context.Context) []finding {
	states, err := up.db.Receivers(ctx)
	if err != nil {
		return []finding{{Check: "webhook", Subject: "webhooks", State: stateUnknown, Text: err.Error()}}
	}
	var all []finding
	configured := map[string]bool{}
	for _, d := range up.app.senders {
		configured[d.Receiver().ID] = true
		all = append(all, taking(d.Receiver().Name, d.Check(ctx)))
	}
	for _, s := range states {
		if f, found := missing(s, configured[s.ID], time.Now()); found {
			all = append(all, f)
		}
	}
	return all
}

// taking says what a webhook makes of a message of ours, and of a stranger's.
func taking(name string, said webhook.Checkup) finding {
	f := finding{Check: "webhook", Subject: name, State: stateError}
	var refused *webhook.StatusError
	switch errors.As(said.Err, &refused); {
	case said.Credulous:
		f.Text = "it takes what a stranger has signed: whoever finds its URL gives himself the orders of others"
		f.Advice = "Let it check the signature, as the receivers in docs/events.md do."
	case said.Err == nil:
		f.State, f.Text = stateOK, "it takes what the gateway has signed, and refuses what a stranger has"
	case refused == nil:
		f.Text, f.Advice = said.Err.Error(), "Look at its URL, at the name server, and whether it runs and can be reached from this server."
	default:
		f.Text, f.Advice = fmt.Sprintf("it answers %d to what the gateway has signed", refused.Status), adviceOn(refused.Status)
	}
	return f
}

// adviceOn says what to do about a webhook's answer to a message of a type that
// it does not know.
func adviceOn(status int) string {
	switch {
	case status/100 == 3:
		return "Write the URL that it redirects to: what is signed for one address is not sent to another."
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed:
		return "Nothing takes a POST at this URL. Look at its path, and at what stands before the shop."
	case status == http.StatusTooManyRequests || status >= http.StatusInternalServerError:
		return "It fails. Look into its log; events are sent again for 72 hours."
	}
	return "Compare its secret with the one in the configuration, and its clock with this server's. If it takes the signature, let it answer 204 to events of a type that it does not know."
}

// lateAfter is when an event has been tried four times.
const lateAfter = 15 * time.Minute

// missing says which events a webhook has not had; found=false means none that
// anybody should worry about.
func missing(s account.ReceiverState, configured bool, now time.Time) (f finding, found bool) {
	f = finding{Check: "webhook", Subject: s.Name, State: stateWarning}
	late := !s.Oldest.IsZero() && now.Sub(s.Oldest) >= lateAfter
	last := ""
	if s.Said != "" {
		last = "; the last attempt in vain: " + s.Said
	}
	switch {
	case !configured && s.Waiting+s.Parked > 0:
		f.Text = fmt.Sprintf("it is not in this configuration, and %d events wait for it", s.Waiting+s.Parked)
		f.Advice = "If another gateway has it, give all the same webhooks. If the URL has changed, the new one has only what came since: let the shop read the feed from where it stopped. Else nothing is to be done: it is forgotten by itself."
	case s.Parked > 0:
		f.State, f.Text = stateError, fmt.Sprintf("%d events were given up after 72 hours, and %d wait%s", s.Parked, s.Waiting, last)
		f.Advice = "Mend the webhook, then: wxgate event replay."
	case late:
		f.Text = fmt.Sprintf("%d events wait, the oldest for %s%s", s.Waiting, now.Sub(s.Oldest).Round(time.Minute), last)
		f.Advice = "Mend the webhook within 72 hours, and they are sent by themselves; wxgate event replay sends them at once."
	default:
		return f, false
	}
	return f, true
}
