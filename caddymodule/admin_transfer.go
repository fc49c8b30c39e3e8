package caddymodule

import (
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"slices"

	"github.com/wxgate/wxgate/internal/account"
)

// transferRoutes are the routes that take and give whole files of accounts, or
// go through an app's accounts.
func transferRoutes() []adminRoute {
	return []adminRoute{
		{method: http.MethodPost, path: "import", accepts: []string{"multipart/form-data"}, long: true, serve: serveImport},
		{method: http.MethodPost, path: "export", accepts: []string{typeJSON}, long: true, serve: serveExport},
		{method: http.MethodPost, path: "repair", accepts: []string{typeJSON}, long: true, serve: serveRepair},
	}
}

// importRequest is the first part of the body, named `options`. The second,
// named `file`, is the file.
type importRequest struct {
	Format  account.Format    `json:"format"`
	Columns map[string]string `json:"columns,omitempty"`
	AppID   string            `json:"appid,omitempty"`
	Name    string            `json:"name,omitempty"`
	reasoned
}

// importView is a report with what the configuration says of it.
type importView struct {
	account.ImportReport
	// UnknownApps are appids of the file that no app of the configuration has.
	UnknownApps []string `json:"unknown_apps"`
}

func serveImport(c *adminCall) error {
	in, file, err := c.importParts()
	if err != nil {
		return err
	}
	if in.Reason == "" && !in.DryRun {
		return account.ErrNoReason
	}
	s, err := c.newStream()
	if err != nil {
		return err
	}
	cfg := account.ImportConfig{
		Source: file, Format: in.Format, Columns: in.Columns, AppID: in.AppID, DryRun: in.DryRun, Name: in.Name, By: in.by(),
		Progress: s.progress, Problem: func(p account.Problem) error { return s.send(streamLine{Problem: &p}) },
	}
	report, err := c.db.Import(c, c.app.rules(), cfg)
	if errors.Is(err, account.ErrImport) {
		err = newProblem(http.StatusUnprocessableEntity, "unusable_file", err.Error())
	}
	return s.end(importView{report, c.unknownApps(report)}, err)
}

// importParts reads the options and finds the file.
func (c *adminCall) importParts() (in importRequest, file io.Reader, err error) {
	parts, err := c.r.MultipartReader()
	if err != nil {
		return in, nil, malformed("the body is no form")
	}
	wrong := malformed("the body is not a form with the parts options and file")
	options, err := parts.NextPart()
	if err != nil || options.FormName() != "options" {
		return in, nil, wrong
	}
	dec := json.NewDecoder(io.LimitReader(options, adminBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return in, nil, malformed("options is not the JSON object that this route takes")
	}
	var part *multipart.Part
	if part, err = parts.NextPart(); err != nil || part.FormName() != "file" {
		return in, nil, wrong
	}
	return in, part, nil
}

func (c *adminCall) unknownApps(r account.ImportReport) []string {
	unknown := []string{}
	for appID := range r.Apps {
		if !c.app.knows(appID) {
			unknown = append(unknown, appID)
		}
	}
	slices.Sort(unknown)
	return unknown
}

type exportRequest struct {
	Format account.Format `json:"format"`
	Phones bool           `json:"phones,omitempty"`
	reasoned
}

func serveExport(c *adminCall) error {
	var in exportRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	switch {
	case in.DryRun:
		return malformed("an export changes nothing: it has no dry run")
	case in.Format == account.CSV:
		c.w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	case in.Format == account.NDJSON:
		c.w.Header().Set("Content-Type", typeNDJSON)
	default:
		return malformed("format is none of: csv, ndjson")
	}
	out := &begun{w: c.w}
	_, err := c.db.Export(c, account.ExportConfig{Writer: out, Format: in.Format, Phones: in.Phones, By: in.by()})
	if err != nil && out.begun {
		problemOf(err)              // logs it
		panic(http.ErrAbortHandler) // so that nobody takes a part for the whole
	}
	return err
}

// begun notes that a part of the answer is sent.
type begun struct {
	w     io.Writer
	begun bool
}

// Write implements io.Writer.
func (b *begun) Write(p []byte) (int, error) {
	b.begun = true
	return b.w.Write(p)
}
