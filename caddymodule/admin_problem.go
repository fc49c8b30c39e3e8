package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/wechat"
)

// problem is an error as the admin endpoint and wxgate_api answer it: a problem
// document (RFC 9457) whose code is stable. Detail is for people.
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
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // an error is the client's connection
}

// malformed means that a request cannot be understood.
func malformed(detail string) *problem { return newProblem(http.StatusBadRequest, "malformed", detail) }

// refused is the answer to what the rules for accounts do not allow.
func refused(code account.Code) *problem {
	detail := "the rules for accounts do not allow it"
	switch code {
	case account.CodeLastCredential:
		detail = "it is the last way into this account: bind another WeChat account or a phone first, or cancel the account"
	case account.CodeUserIDBoundToOtherWeChat:
		detail = "both members have a WeChat account, and a member may have one: unbind one of them first"
	}
	return newProblem(http.StatusConflict, string(code), detail)
}

// problemOf is the one place that maps errors to answers.
func problemOf(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	for _, known := range []struct {
		err          error
		status       int
		code, detail string
	}{
		{account.ErrUnknownUser, 404, "unknown_user", "nobody has that id; a visitor whom WeChat has not named has his in his browser only"},
		{account.ErrUnknownIdentity, 404, "unknown_identity", "the user does not have that WeChat account"},
		{account.ErrUnknownConflict, 404, "unknown_conflict", "no conflict has that id"},
		{account.ErrUnknownReceiver, 404, "unknown_webhook", "no webhook has that id"},
		{account.ErrUserCancelled, 409, "user_cancelled", "the account is cancelled, which cannot be undone"},
		{account.ErrNotMember, 409, "not_member", "a guest was named where only a member can be; a guest is merged when he logs in"},
		{account.ErrSeveralIdentities, 409, "several_identities", "the user has several WeChat accounts in this app: name the openid or the unionid"},
		{account.ErrTooManyMoves, 400, "malformed", "there are too many openids in one call"},
		{account.ErrNoReason, 422, "no_reason", "a reason is needed; it is recorded"},
		{context.DeadlineExceeded, 503, "unavailable", "the database is too slow"},
	} {
		if errors.Is(err, known.err) {
			return newProblem(known.status, known.code, known.detail)
		}
	}
	if refused := (*wechat.Error)(nil); errors.As(err, &refused) {
		code := "unavailable"
		if errors.Is(err, wechat.ErrBusy) {
			code = "wechat_busy"
		}
		return newProblem(http.StatusServiceUnavailable, code, refused.Error())
	}
	// Whatever else goes wrong is the database. Its words may quote a value, so
	// they go to the log of this machine's operator, not further.
	caddy.Log().Named("wxgate").Sugar().Errorw("serving a call", "error", err)
	return newProblem(http.StatusServiceUnavailable, "unavailable", "the database does not work; the gateway's log says why")
}
