package wechat

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"syscall"
)

// Why there is no errcode in an Error. Also values of the metric's code label.
const (
	reasonTimeout   = "timeout"   // no answer in time; a code may be spent
	reasonCanceled  = "canceled"  // the caller gave up first
	reasonNetwork   = "network"   // no connection, or it broke
	reasonMalformed = "malformed" // HTML, wrong JSON, too long, fields missing
)

// Error is an answer of WeChat that is no success, or a missing answer. It
// carries no URL, secret, code, token or openid and is safe to log.
type Error struct {
	API  string // path of the call, like sns/oauth2/access_token
	Code int    // WeChat's errcode; 0 when no answer could be read
	RID  string // WeChat's trace id, to be looked up within 7 days; may be empty

	reason   string // one of the reasons when Code is 0
	detail   string // more about the reason, in our own words
	paused   bool   // the call was not made, see pauses
	callerIP string // the address WeChat saw, of IP whitelist errors
	kind     error
	cause    error // the context's error or nil
}

// Error implements error.
func (e *Error) Error() string {
	text := "wechat: " + e.API + ": "
	if e.Code == 0 {
		text += e.reason
	} else {
		text += "errcode " + strconv.Itoa(e.Code)
	}
	if e.detail != "" {
		text += " (" + e.detail + ")"
	}
	if e.paused {
		text += ", calls are paused"
	}
	if e.RID != "" {
		text += ", rid " + e.RID
	}
	return text
}

// Is matches the one sentinel that names the reaction.
func (e *Error) Is(target error) bool { return target == e.kind }

// Unwrap returns context.Canceled or context.DeadlineExceeded if the call
// ended by it, else nil.
func (e *Error) Unwrap() error { return e.cause }

// Logged says that the client has a log line about it: configuration errors
// and used-up limits, of which every visitor would otherwise make one more.
func (e *Error) Logged() bool {
	return e.kind == ErrConfig || e.Code == codeDailyQuota || e.Code == CodeMinuteLimit && e.API != apiCode2Session
}

// answered says that WeChat itself has judged the request.
func (e *Error) answered() bool { return e.Code != 0 && e.Code != codeBusy }

// label is the code by which metrics and spans tell it, from a closed set; of
// nil it is empty.
func (e *Error) label() string {
	if e == nil {
		return ""
	}
	if e.Code == 0 {
		return e.reason
	}
	if _, known := reaction(e.API, e.Code); !known {
		return "other"
	}
	return strconv.Itoa(e.Code)
}

// Errcodes that a caller may have to tell apart.
const (
	CodeUsed = 40163 // of ErrCode: the code was used before
	// CodeMinuteLimit is too many calls in this minute. Those of mini-program
	// logins are counted per user, so that one user's do not pause the others'.
	CodeMinuteLimit = 45011
)

// Codes that steer the client itself.
const (
	codeBusy        = -1
	codeDailyQuota  = 45009
	codeUnknownUser = 46004
	codeBadOpenID   = 40003
)

// reaction returns the sentinel of an errcode and whether the code is one we
// know. The platform's list:
// developers.weixin.qq.com/doc/oplatform/developers/errCode/errCode.html
func reaction(api string, code int) (kind error, known bool) {
	switch code {
	case codeBusy, codeDailyQuota, CodeMinuteLimit:
		return ErrBusy, true
	case 40029, CodeUsed, 42003, 61010:
		return ErrCode, true
	case 40226, 50001, 50002:
		return ErrBlocked, true
	case 40013, 40125, 40164, 40243, 48004, 61004, 89503:
		return ErrConfig, true
	case 40001: // of a call with the secret: the secret; else the token
		if takesSecret(api) {
			return ErrConfig, true
		}
		return ErrToken, true
	case 40014, 40030, 42001, 42002, 42007:
		return ErrToken, true
	case codeBadOpenID: // the user's token does not belong to this openid
		switch api {
		case apiUserInfo:
			return ErrToken, true
		case apiPhoneNumber: // nor does the code of a phone
			return ErrCode, true
		}
		return ErrUnavailable, true
	case 43004, 48001, 50005:
		return ErrScope, true
	case 40002, 40066, 40097, 41001, 41002, 41003, 41004, 41008, 41009, 43001, 43002, 43003, 44002,
		codeUnknownUser, 47001:
		return ErrUnavailable, true
	}
	return ErrUnavailable, false
}

// WeChat's trace ids, today's form and the older one.
var (
	traceID     = regexp.MustCompile(`\brid: ([0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8})\b`)
	oldTraceID  = regexp.MustCompile(`\breq_id: ([A-Za-z0-9._-]{1,32})(?:[ \]]|$)`)
	whitelistIP = regexp.MustCompile(`\binvalid ip ([0-9a-fA-F.:]{2,45})\b`)
)

func firstMatch(pattern *regexp.Regexp, text string) string {
	if m := pattern.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// platformError is an answer with an errcode. Of errmsg only what has a fixed
// form is kept: it is free text.
func platformError(api string, code int, errmsg string) *Error {
	kind, _ := reaction(api, code)
	rid := firstMatch(traceID, errmsg)
	if rid == "" {
		rid = firstMatch(oldTraceID, errmsg)
	}
	return &Error{API: api, Code: code, RID: rid, kind: kind, callerIP: firstMatch(whitelistIP, errmsg)}
}

// noCode is the error of what cannot be a code of WeChat.
func noCode(api string) *Error {
	return &Error{API: api, reason: reasonMalformed, detail: "code is no code", kind: ErrCode}
}

func malformed(api, detail string) *Error {
	return &Error{API: api, reason: reasonMalformed, detail: detail, kind: ErrUnavailable}
}

// transportError replaces an error of net/http, whose *url.Error holds the
// URL with secret, code and token.
func transportError(ctx context.Context, api string, err error) *Error {
	e := &Error{API: api, reason: reasonNetwork, detail: networkDetail(err), kind: ErrUnavailable, cause: ctx.Err()}
	var timeout net.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		e.reason = reasonCanceled
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		e.reason = reasonTimeout
	}
	return e
}

// networkDetail says in words that cannot hold request data why there is no
// connection.
func networkDetail(err error) string {
	var (
		errno       syscall.Errno
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &dns):
		return fmt.Sprintf("looking up %s", dns.Name)
	case errors.As(err, &certificate):
		return "certificate is not trusted"
	}
	return ""
}
