package webhook

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Code is a verification code that the shop shall send by SMS.
type Code struct {
	Phone     string `json:"phone"` // in the form of E.164
	Code      string `json:"code"`
	Purpose   string `json:"purpose"`    // login, bind or change
	ExpiresIn int    `json:"expires_in"` // seconds
	Locale    string `json:"locale"`     // BCP 47
}

// StatusError is an answer that is not a 2xx.
type StatusError struct {
	Status     int
	RetryAfter time.Duration // for how long the shop asks to be left alone; not positive: it does not
}

func (e *StatusError) Error() string { return fmt.Sprintf("the shop answered %d", e.Status) }

// retryAfter reads the header of that name: seconds, or a date (RFC 9110, 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return at.Sub(now)
	}
	return 0
}

// SendCode hands a code to the shop once, within CallTimeout. Where the shop
// has refused it the error is a *StatusError; after any other it may have been
// sent.
func (e *Endpoint) SendCode(ctx context.Context, c Code) error {
	_, _, err := e.post(ctx, message{id: "sms_" + rand.Text(), body: encode(c), deaf: true})
	return err
}
