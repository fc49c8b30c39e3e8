package caddymodule

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/wxgate/wxgate/internal/account"
)

// follow sends a request and hands every line of the answer to see, and returns
// the report. With --json the lines are printed as they come.
func (c *call) follow(r *http.Request, report any, see func(streamLine) error) error {
	resp, err := c.do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	defer c.clearProgress()
	lines := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		raw, err := lines.ReadBytes('\n')
		if err != nil {
			if c.Err() != nil {
				err = errors.New("interrupted; it may be run again")
			} else {
				err = &unreachableError{c.address, fmt.Errorf("the answer has broken off: %w", err)}
			}
			return err
		}
		l := streamLine{Report: report}
		if err := json.Unmarshal(raw, &l); err != nil {
			return &unreachableError{c.address, fmt.Errorf("reading the answer: %w", err)}
		}
		if c.json {
			if _, err := c.out.Write(raw); err != nil {
				return err
			}
		}
		if err := see(l); err != nil {
			return err
		}
		if l.ends(raw) {
			if l.Error != nil {
				return l.Error
			}
			return nil
		}
	}
}

// ends says whether a line is the last one.
func (l streamLine) ends(raw []byte) bool {
	return l.Error != nil || strings.HasPrefix(string(raw), `{"report":`)
}

// showProgress rewrites one line at the terminal of whoever waits.
func (c *call) showProgress(p account.Progress) {
	if !terminal(c.err) {
		return
	}
	of := ""
	if p.Total > 0 {
		of = fmt.Sprintf(" of %d", p.Total)
	}
	fmt.Fprintf(c.err, "\r\x1b[K%s: %d%s", p.Stage, p.Done, of)
}

func (c *call) clearProgress() {
	if terminal(c.err) {
		fmt.Fprint(c.err, "\r\x1b[K")
	}
}

// formatOf is the format of a file: what --format says, else its name.
func formatOf(name, format string) (account.Format, error) {
	if format == "" {
		switch {
		case strings.HasSuffix(name, ".csv"):
			format = string(account.CSV)
		case strings.HasSuffix(name, ".ndjson"), strings.HasSuffix(name, ".jsonl"):
			format = string(account.NDJSON)
		}
	}
	if f := account.Format(format); f == account.CSV || f == account.NDJSON {
		return f, nil
	}
	return "", usageError("say what the file is, with --format csv or --format ndjson")
}

// source opens a file to read, or standard input.
func (c *call) source(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(c.in), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, usageError(err.Error())
	}
	return f, nil
}
