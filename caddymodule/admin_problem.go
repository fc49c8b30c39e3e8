package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
)

// problem is an error as the admin endpoint answers it: a problem document
// (RFC 9457) whose code is stable. Detail is for people.
type problem struct {
	Type   string `json:"type"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func newProblem(status int, code, detail string) *problem {
	return &problem{Type: "urn:wxgate:problem:" + code, Status: status, Code: code, Detail: detail}
}

// Error implements error.
func (p *problem) Error() string { return p.Detail }

func (p *problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // an error is the client's connection
}

// problemOf is the one place that maps errors to answers.
func problemOf(err error) *problem {
	var p *problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, context.DeadlineExceeded):
		return newProblem(http.StatusServiceUnavailable, "unavailable", "the database is too slow")
	}
	// Whatever else goes wrong is the database. Its words may quote a value, so
	// they go to the log of this machine's operator, not further.
	caddy.Log().Named("wxgate").Sugar().Errorw("serving an operator", "error", err)
	return newProblem(http.StatusServiceUnavailable, "unavailable", "the database does not work; the gateway's log says why")
}
