package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/wxgate/wxgate/internal/account"
)

const typeNDJSON = "application/x-ndjson"

// streamLine is a line of an answer that comes while the work is done. The last
// one has a report, or an error and maybe a report of what was done before it.
type streamLine struct {
	Progress *account.Progress       `json:"progress,omitempty"`
	Problem  *account.Problem        `json:"problem,omitempty"`
	Conflict *account.RepairConflict `json:"conflict,omitempty"`
	Report   any                     `json:"report,omitempty"`
	Error    *problem                `json:"error,omitempty"`
}

// stream is an answer of lines.
type stream struct {
	enc    *json.Encoder
	rc     *http.ResponseController
	shown  time.Time     // of the last progress
	latest account.Stage // it was in
}

// progressInterval spaces what is told of progress.
const progressInterval = 200 * time.Millisecond

// newStream begins an answer of lines. The request may still be arriving.
func (c *adminCall) newStream() (*stream, error) {
	rc := http.NewResponseController(c.w)
	if err := rc.EnableFullDuplex(); err != nil {
		return nil, err
	}
	c.w.Header().Set("Content-Type", typeNDJSON)
	c.w.WriteHeader(http.StatusOK)
	s := &stream{enc: json.NewEncoder(c.w), rc: rc}
	s.enc.SetEscapeHTML(false)
	return s, rc.Flush()
}

func (s *stream) send(l streamLine) error { return s.enc.Encode(l) }

// progress is told now and then, and with it all that waits to be sent.
func (s *stream) progress(p account.Progress) {
	if p.Stage == s.latest && time.Since(s.shown) < progressInterval {
		return
	}
	s.shown, s.latest = time.Now(), p.Stage
	_ = s.send(streamLine{Progress: &p}) // who is gone has ended the context
	_ = s.rc.Flush()
}

// end sends the report, and what went wrong. Whoever has gone away hears
// nothing.
func (s *stream) end(report any, err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	l := streamLine{Report: report}
	if err != nil {
		l.Error = problemOf(err)
	}
	return s.send(l)
}
