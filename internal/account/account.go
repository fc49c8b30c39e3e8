// Package account owns users, identities, visitors, events, revocations and
// the linking rules. It stores them in SQL; every decision is one transaction
// and the database's constraints have the last word.
package account

import (
	"context"
	"errors"
	"time"
)

// Kind says what a user id stands for. The zero value is nobody.
type Kind string

const (
	Nobody Kind = ""
	Guest  Kind = "guest"  // a visitor with a virtual user id
	Member Kind = "member" // a user who has logged in
)

// Code is the outcome of a Link as clients and operators see it.
type Code string

const (
	CodeOK                       Code = "ok"
	CodeGuest                    Code = "guest"
	CodeAuthRequired             Code = "auth_required"
	CodePhoneRequired            Code = "phone_required"
	CodeUnionIDMissing           Code = "unionid_missing"
	CodeSnapshot                 Code = "snapshot"
	CodeStaleGuest               Code = "stale_guest"
	CodeGuestOwnedByOther        Code = "guest_owned_by_other"
	CodePhoneChangeNeedsFlow     Code = "phone_change_needs_flow"
	CodeSecondProofRequired      Code = "second_proof_required"
	CodePhoneBoundToOtherWeChat  Code = "phone_bound_to_other_wechat"
	CodePhoneOwnedByOtherUser    Code = "phone_owned_by_other_user"
	CodeUserIDBoundToOtherWeChat Code = "userid_bound_to_other_wechat"
	CodeWeChatBoundToOtherUser   Code = "wechat_bound_to_other_user"
	CodeUnionIDChanged           Code = "unionid_changed"
	CodeOpenIDChanged            Code = "openid_changed"
	CodeRepairConflict           Code = "repair_conflict"
	CodeLastCredential           Code = "last_credential"
	// CodeUnavailable means that Rules.MakeUserID gave no id: who would have
	// become a member goes on as the guest he was, and may try again.
	CodeUnavailable Code = "unavailable"
)

// FirstLogin says what a first login needs.
type FirstLogin string

const (
	FirstLoginWeChat      FirstLogin = "wechat"       // a known unionid is enough
	FirstLoginWeChatPhone FirstLogin = "wechat_phone" // a verified phone is needed too
)

// Linking says how many WeChat accounts a member may have.
type Linking string

const (
	OneToOne     Linking = "one_to_one"    // one, and one stand-in per app that has no unionids
	ManyUnionIDs Linking = "many_unionids" // any number; a unionid has one user even so
)

// DefaultPhoneIdle is Rules.PhoneIdle where it is not set.
const DefaultPhoneIdle = 180 * 24 * time.Hour

// Rules is the policy a Link runs under. It comes from the configuration and
// may differ between two configurations that share one database.
type Rules struct {
	FirstLogin FirstLogin // default FirstLoginWeChat
	Linking    Linking    // default OneToOne
	GuestsOff  bool       // true: nobody but members has a user id
	// PhoneIdle is for how long a member who has a WeChat may be away before
	// his phone number alone no longer logs him in: the carrier may have given
	// it to somebody else. Default DefaultPhoneIdle.
	PhoneIdle time.Duration
	// StandIns are the appids of apps that are bound to no Open Platform
	// account. There an openid stands in for the unionid.
	StandIns map[string]bool
	// MakeUserID makes the user id of each new member; nil: the database does,
	// as it is configured. Link calls it outside every transaction, and it must
	// give the same id for the same Newcomer.Key. An error means that nobody
	// can become a member now.
	MakeUserID func(context.Context, Newcomer) (string, error)
}

// Want says whether an action that needs a login was hit.
type Want string

const (
	WantIdentify Want = "identify"
	WantLogin    Want = "login"
)

// Input is what has just been proved about a visitor. The zero Input is a
// visitor of whom nothing is known.
type Input struct {
	// AppID and OpenID are what WeChat has just proved; both empty outside
	// WeChat. UnionID is empty when WeChat did not tell it.
	AppID, OpenID, UnionID string

	// UserID is the user id of the caller's session, empty if it has none.
	// UserKind and UserBorn come from the same session: a guest without a row
	// is a guest because a valid token of ours says so.
	UserID   string
	UserKind Kind
	UserBorn time.Time
	// UserIssued is when that session was issued: one that was ended since says
	// nothing of who he is. Zero: it is not looked at.
	UserIssued time.Time

	// ShopUserID is the member whom the shop itself has just logged in, empty if
	// none: he takes the place of the session's user, whose guest is not lost.
	// An id that nobody has becomes a member with exactly that id.
	ShopUserID string

	// SessionAppID and SessionOpenID name the identity under which the session
	// was created; they are kept across a web-view hand-off.
	SessionAppID, SessionOpenID string
	// SessionUnionID is the unionid WeChat proved for this session.
	SessionUnionID string

	// HandedOver says that another program has handed the session over, and that
	// nothing proves that whoever is here is who was there.
	HandedOver bool

	// Phone is the number that was verified in this very call, as ParsePhone
	// returns it; empty if none was.
	Phone Phone

	Want      Want // default WantIdentify
	Outside   bool // a bind action outside WeChat, or no WeChat at all
	InBrowser bool // inside WeChat's browser, where a consent can be asked for
	Consented bool // a consent was given and brought no unionid
	Snapshot  bool // WeChat said is_snapshotuser=1
	// Unattended says that nobody is here: an operator lets WeChat be asked
	// about somebody. The member's last_seen stays.
	Unattended bool
	// Waiting says that the openid had an imported row without a unionid. If it
	// has none any more nothing is decided, and the Outcome is nobody's without
	// a code.
	Waiting bool
}

// Outcome is what a Link decided.
type Outcome struct {
	UserID string // empty: nobody
	Kind   Kind
	Born   time.Time // birth of a guest; zero for members
	Code   Code
	// UnionID is the unionid under which the input's openid is stored now, or
	// that openid itself where it stands in for one; empty while it is unknown,
	// in dispute or refused.
	UnionID string
	Events  []Event
	// SessionsFrom is when the sessions of UserID were last ended: those that
	// were issued before are dead, and who has just proved himself gets one that
	// was not. Clocks differ, so it may be to come. Zero: they never were.
	SessionsFrom time.Time
	// Unavailable says, for logs, why the Code is CodeUnavailable.
	Unavailable error
}

// EventType names an account event without the prefix `wxgate.`.
type EventType string

const (
	EventUserCreated      EventType = "user.created"
	EventUserMerged       EventType = "user.merged"
	EventMergeSettled     EventType = "user.merge_settled" // SettleAfter a user.merged, with the same data
	EventPhoneBound       EventType = "phone.bound"
	EventPhoneUnbound     EventType = "phone.unbound"
	EventIdentityLinked   EventType = "identity.linked"
	EventIdentityUnlinked EventType = "identity.unlinked"
	EventUserCancelled    EventType = "user.cancelled"
	EventConflictOpened   EventType = "conflict.opened"
	EventConflictClosed   EventType = "conflict.closed"
)

// Event is one row of the event queue, written in the transaction of the
// change it tells of.
type Event struct {
	Seq     int64 // place in the feed; 0 from the operation that writes it
	ID      string
	Type    EventType
	Subject string // surviving user id, or the conflict's id
	Time    time.Time
	Data    any // one of the data structs below
}

// Merged is the data of user.merged. Aliases lists every id that now answers
// to To, earlier merges included.
type Merged struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	FromKind Kind     `json:"from_kind"`
	ToKind   Kind     `json:"to_kind"`
	Reason   string   `json:"reason"`
	Aliases  []string `json:"aliases"`
}

// Linked is the data of identity.linked and identity.unlinked.
type Linked struct {
	AppID   string `json:"appid"`
	OpenID  string `json:"openid"`
	UnionID string `json:"unionid,omitempty"`
}

// Bound is the data of phone.bound and phone.unbound.
type Bound struct {
	Phone Phone `json:"phone"` // masked as JSON: `+86 138****8000`
}

// Conflict is the data of conflict.opened and conflict.closed.
type Conflict struct {
	ID      string   `json:"id"`
	Code    Code     `json:"code"`
	Parties []string `json:"parties"`
}

// SessionRef is what a session token says of itself, for Resolve.
type SessionRef struct {
	ID     string // session id
	UserID string
	Kind   Kind
	// AppID, OpenID and UnionID are what WeChat proved for the session.
	AppID, OpenID, UnionID string
	IssuedAt               time.Time
	// Unattended says that nobody is here: it is only asked. The member's
	// last_seen stays.
	Unattended bool
}

// Resolved is whom a session stands for now.
type Resolved struct {
	UserID        string // the current user: merged ids are followed
	Kind          Kind
	PhoneVerified bool
	// Previous lists the ids merged into UserID in the last 30 days, newest
	// first, at most 20.
	Previous []string
	// DiesAt is when a rotated session stops being served; zero if it was not
	// rotated.
	DiesAt time.Time
}

// ErrSessionDead means that the session is revoked, its user cancelled, or its
// guest was merged into a member that this session does not prove.
var ErrSessionDead = errors.New("session is dead")

// Invalidation names a session, or the user it stood for, whose cached answers
// are out of date.
type Invalidation struct {
	Seq       int64
	UserID    string // either this
	SessionID string // or this
}
