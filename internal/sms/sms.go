// Package sms sends verification codes through SMS carriers. It signs their
// requests itself.
package sms

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/wxgate/wxgate/internal/span"
)

// Message is one verification code on its way to a phone.
type Message struct {
	Phone     string // E.164, such as +8613812345678
	Code      string // six digits
	Purpose   string // what it is for: login, bind, change
	ExpiresIn time.Duration
	Locale    string // BCP 47, such as zh-Hans
}

// String keeps phones and codes out of logs.
func (Message) String() string { return "sms message" }

// Reason says what a failure means to the visitor and to the operator.
type Reason string

const (
	// ReasonWait: this phone has had as many messages as the carrier allows.
	ReasonWait Reason = "wait"
	// ReasonPhone: the carrier does not send to this phone.
	ReasonPhone Reason = "phone"
	// ReasonConfig: the operator has something to put right: credentials,
	// template, signature, money, a limit of the account.
	ReasonConfig Reason = "config"
	// ReasonBusy: the carrier has refused and may accept later.
	ReasonBusy Reason = "busy"
	// ReasonUnsure: no answer came. The message may have been sent, so it
	// counts as sent and is not sent again.
	ReasonUnsure Reason = "unsure"
)

// Error is the failure of a carrier to take a message.
type Error struct {
	Carrier string
	Reason  Reason
	Code    string // the carrier's own; empty if it gave none
	Err     error  // of the network; nil if the carrier has answered
}

// Error tells neither phone nor code: what a carrier says in words may hold
// both, so only its code is repeated.
func (e *Error) Error() string {
	switch {
	case e.Code != "":
		return fmt.Sprintf("%s refused a message: %s (%s)", e.Carrier, e.Code, e.Reason)
	case e.Err != nil:
		return fmt.Sprintf("%s did not answer: %v (%s)", e.Carrier, e.Err, e.Reason)
	default:
		return fmt.Sprintf("%s gave an answer that cannot be read (%s)", e.Carrier, e.Reason)
	}
}

func (e *Error) Unwrap() error { return e.Err }

// SendTimeout is how long a carrier may take.
const SendTimeout = 5 * time.Second

// Unanswered is the reason of a call that err of net/http has ended: who was
// never reached has sent nothing.
func Unanswered(err error) Reason {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return ReasonBusy
	}
	return ReasonUnsure
}

const answerLimit = 64 << 10 // bytes

// hostOf returns the host of an endpoint.
func hostOf(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return "", errors.New("endpoint is not a URL like https://sms.example.com/")
	}
	return u.Host, nil
}

// newClient returns a client that follows no redirect: a signed request is
// meant for one host.
func newClient() *http.Client {
	return &http.Client{
		Timeout:       SendTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// post sends req and returns the answer's body. An answer of any status is one:
// carriers put their refusals into the body.
func post(client *http.Client, req *http.Request, carrier string) ([]byte, error) {
	req, told := span.HTTP(req, "")
	resp, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL
		}
		told.EndWith(err)
		return nil, &Error{Carrier: carrier, Reason: Unanswered(err), Err: err}
	}
	defer resp.Body.Close()
	told.Answered(resp.StatusCode)
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	told.EndWith(err)
	if err != nil {
		return nil, &Error{Carrier: carrier, Reason: ReasonUnsure, Err: err}
	}
	return body, nil
}

var codeShape = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._]{0,99}$`)

// refused is the error for a carrier's code. A code that does not look like one
// is not repeated.
func refused(carrier, code string, reasonOf func(string) Reason) error {
	if !codeShape.MatchString(code) {
		return &Error{Carrier: carrier, Reason: ReasonUnsure}
	}
	return &Error{Carrier: carrier, Reason: reasonOf(code), Code: code}
}

// Sender is a carrier.
type Sender interface {
	// Send hands a message over once. It returns within SendTimeout; every
	// error is an *Error.
	Send(ctx context.Context, m Message) error
}

var (
	_ Sender = (*Aliyun)(nil)
	_ Sender = (*Tencent)(nil)
	_ Sender = (*Log)(nil)
)
