package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/wxgate/wxgate/internal/account"
)

// userRoutes are the routes that ask for one person, or change his account.
func userRoutes() []adminRoute {
	return []adminRoute{
		post("users/find", serveFind),
		post("users/show", serveShow),
		post("users/merge", serveMerge),
		post("users/unbind", serveUnbind),
		post("users/cancel", serveCancel),
		post("users/revoke", serveRevoke),
	}
}

// findRequest names somebody by anything: user id, replaced id, phone, openid
// or unionid.
type findRequest struct {
	Term string `json:"term"`
}

type matchesView struct {
	Matches []account.Match `json:"matches"`
}

func serveFind(c *adminCall) error {
	var in findRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.Term == "" {
		return malformed("term is empty")
	}
	matches, err := c.db.Find(c, in.Term)
	if err != nil {
		return err
	}
	return c.answer(matchesView{listed(matches)})
}

// userRequest names a user by his id; a replaced id stands for its survivor.
type userRequest struct {
	UserID string `json:"user_id"`
}

func serveShow(c *adminCall) error {
	var in userRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	person, err := c.db.Person(c, in.UserID)
	if err != nil {
		return err
	}
	return c.answer(person)
}

// changedView is what a change has done. UserID is empty when nobody is left.
type changedView struct {
	UserID string       `json:"user_id,omitempty"`
	Code   account.Code `json:"code"`
	Events []eventView  `json:"events"`
}

// changed answers with an outcome, or refuses.
func (c *adminCall) changed(out account.Outcome, err error) error {
	if err != nil {
		return err
	}
	if out.Code != account.CodeOK {
		return refused(out.Code)
	}
	view := changedView{UserID: out.UserID, Code: out.Code, Events: make([]eventView, len(out.Events))}
	for i, e := range out.Events {
		if view.Events[i], err = viewEvent(e); err != nil {
			return err
		}
	}
	return c.answer(view)
}

// viewEvent makes an event readable for programs.
func viewEvent(e account.Event) (eventView, error) {
	data, err := json.Marshal(e.Data)
	if err != nil {
		return eventView{}, fmt.Errorf("writing an event: %w", err)
	}
	return eventView{Seq: e.Seq, ID: e.ID, Type: e.Type, Subject: e.Subject, Time: e.Time, Data: data}, nil
}

type mergeRequest struct {
	From string `json:"from"`
	To   string `json:"to"`
	reasoned
}

// reasoned is the part of a request that is recorded, or says that nothing is to
// be done: a dry run answers as the change would, and needs no reason.
type reasoned struct {
	Reason   string `json:"reason,omitempty"`
	Operator string `json:"operator,omitempty"` // who he is, if he says so
	DryRun   bool   `json:"dry_run,omitempty"`
}

func (r reasoned) by() account.By {
	if r.DryRun {
		return account.By{}
	}
	return account.By{Operator: true, Reason: r.Reason, Name: r.Operator}
}

// serveMerge answers a dry run with what would happen in detail.
func serveMerge(c *adminCall) error {
	var in mergeRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	merging := account.Merging{From: in.From, To: in.To, By: in.by()}
	if !in.DryRun {
		return c.changed(c.db.Merge(c, c.app.rules(), merging))
	}
	preview, err := c.db.PreviewMerge(c, c.app.rules(), merging)
	if err != nil {
		return err
	}
	return c.answer(preview)
}

// unbindRequest names a WeChat account of a user by as much as is needed.
type unbindRequest struct {
	UserID  string `json:"user_id"`
	UnionID string `json:"unionid,omitempty"`
	AppID   string `json:"appid,omitempty"`
	OpenID  string `json:"openid,omitempty"`
	reasoned
}

func serveUnbind(c *adminCall) error {
	var in unbindRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.UnionID == "" && in.AppID == "" && in.OpenID == "" {
		return malformed("unionid, appid or openid is needed")
	}
	return c.changed(c.db.Unbind(c, account.Unbinding{
		UserID: in.UserID, UnionID: in.UnionID, AppID: in.AppID, OpenID: in.OpenID, DryRun: in.DryRun, By: in.by(),
	}))
}

// cancelRequest names a user by his id, or by an openid, as WeChat names who
// has withdrawn his grant.
type cancelRequest struct {
	UserID string `json:"user_id,omitempty"`
	AppID  string `json:"appid,omitempty"`
	OpenID string `json:"openid,omitempty"`
	reasoned
}

func serveCancel(c *adminCall) error {
	var in cancelRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if (in.UserID == "") == (in.OpenID == "") || (in.OpenID == "") != (in.AppID == "") {
		return malformed("either user_id, or appid and openid are needed")
	}
	out, err := c.db.Cancel(c, account.Cancelling{
		UserID: in.UserID, AppID: in.AppID, OpenID: in.OpenID, DryRun: in.DryRun, By: in.by(),
	})
	if in.OpenID != "" && errors.Is(err, account.ErrUnknownUser) {
		return newProblem(http.StatusNotFound, "unknown_user", "nobody has that openid in that app")
	}
	return c.changed(out, err)
}

type revokeRequest struct {
	UserID string `json:"user_id"`
	reasoned
}

func serveRevoke(c *adminCall) error {
	var in revokeRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.DryRun {
		return malformed("there is nothing to try: it ends all sessions")
	}
	if err := c.db.RevokeUser(c, in.UserID, in.by()); err != nil {
		return err
	}
	return c.answer(changedView{UserID: in.UserID, Code: account.CodeOK, Events: []eventView{}})
}
