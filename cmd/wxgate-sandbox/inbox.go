package main

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// smsSecret is that of `sms webhook` in the Caddyfile.
const smsSecret = "whsec_c2FuZGJveCBzYW5kYm94IHNhbmRib3ggc2FuZGJveCA="

const keptMessages = 10

// inbox stands in for everybody's phone: it takes the codes that the gateway
// has sent, so that the tester can read them.
type inbox struct {
	hook *standardwebhooks.Webhook

	mu       sync.Mutex
	messages []message // newest first
}

// message is a code that was sent to a phone.
type message struct {
	Time    time.Time `json:"-"`
	Phone   string    `json:"phone"`
	Code    string    `json:"code"`
	Purpose string    `json:"purpose"`
}

func newInbox() *inbox {
	hook, err := standardwebhooks.NewWebhook(smsSecret)
	if err != nil {
		panic(err)
	}
	return &inbox{hook: hook}
}

// ServeHTTP takes a code, as a shop's own receiver of `sms webhook` would.
func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<10))
	if err != nil || b.hook.Verify(body, r.Header) != nil {
		http.Error(w, "the signature does not fit", http.StatusUnauthorized)
		return
	}
	m := message{Time: time.Now()}
	if err := json.Unmarshal(body, &m); err != nil || m.Phone == "" || m.Code == "" {
		http.Error(w, "no phone or no code", http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	b.messages = append([]message{m}, b.messages[:min(len(b.messages), keptMessages-1)]...)
	b.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (b *inbox) list() []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.messages)
}
