package webhook

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func (s *shop) deliverer(t *testing.T) *Deliverer {
	return NewDeliverer(DelivererConfig{Endpoint: s.endpoint(t)})
}

// TestCheckupIsAnEventOfNoKnownType: in all else it is like one.
func TestCheckupIsAnEventOfNoKnownType(t *testing.T) {
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	var signed, unsigned int
	s := newShop(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		if hook.Verify(body, r.Header) != nil {
			unsigned++
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		signed++
		var e CloudEvent
		if err := json.Unmarshal(body, &e); err != nil || e.Type != "wxgate.checkup" || e.ID != r.Header.Get("webhook-id") || e.Subject != e.ID {
			t.Errorf("%v: %s", err, body)
		}
	})
	if got := s.deliverer(t).Check(t.Context()); got != (Checkup{}) || signed != 1 || unsigned != 1 {
		t.Errorf("%+v, %d signed and %d not", got, signed, unsigned)
	}
}

func TestCheckupOfAReceiverThatChecksNothing(t *testing.T) {
	if got := says(t, http.StatusOK, "thanks").deliverer(t).Check(t.Context()); !got.Credulous || got.Err != nil {
		t.Errorf("%+v", got)
	}
}

func TestCheckupOfAReceiverThatRefuses(t *testing.T) {
	for _, status := range []int{http.StatusFound, http.StatusUnauthorized, http.StatusNotFound, http.StatusServiceUnavailable} {
		s := says(t, status, "")
		got := s.deliverer(t).Check(t.Context())
		var refused *StatusError
		if !errors.As(got.Err, &refused) || refused.Status != status || got.Credulous || s.calls.Load() != 1 {
			t.Errorf("%d: %+v after %d calls", status, got, s.calls.Load())
		}
	}
	gone := says(t, http.StatusOK, "")
	d := gone.deliverer(t)
	gone.Close()
	if got := d.Check(t.Context()); got.Err == nil || !strings.Contains(got.Err.Error(), "refused") {
		t.Errorf("%+v", got)
	}
}
