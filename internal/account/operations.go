package account

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// By says by whose will an operation is done. The zero By is the person
// himself, who has proved what the operation asks for.
type By struct {
	// Operator says that an operator acts. What he does is recorded, in the
	// transaction that does it.
	Operator bool
	Reason   string // of an operator, who must give one
}

func (b By) check() error {
	if b.Operator && b.Reason == "" {
		return ErrNoReason
	}
	return nil
}

var (
	// ErrNoReason means that an operator has given no reason.
	ErrNoReason = errors.New("an operator must give a reason")
	// ErrUserCancelled means that the account is cancelled.
	ErrUserCancelled = errors.New("the user is cancelled")
	// ErrNotMember means that a guest was named where only a member can be.
	ErrNotMember = errors.New("the user is not a member")
	// ErrUnknownIdentity means that the WeChat account named is not the user's.
	ErrUnknownIdentity = errors.New("unknown identity")
	// ErrSeveralIdentities means that the user has several WeChat accounts in
	// the app, so that its appid names none of them.
	ErrSeveralIdentities = errors.New("several identities in this app")
	// ErrUnknownConflict means that no conflict has that id.
	ErrUnknownConflict = errors.New("unknown conflict")
	// ErrTooManyMoves means that an openid map has more than MaxOpenIDMoves.
	ErrTooManyMoves = errors.New("too many openids for one call")
)

// Unbinding names a WeChat account of a user: by its unionid, by an openid, or
// by the app alone where he has one there.
type Unbinding struct {
	UserID  string // a replaced id stands for its survivor
	UnionID string // either this
	AppID   string // or this
	OpenID  string // and, unless he has only one there, this
	By      By
}

// Unbind removes all rows of a WeChat account (O1), with identity.unlinked. All
// sessions of the user end, for one that the WeChat account has opened would
// bind it again. The last credential is refused with CodeLastCredential.
//
// Errors: ErrUnknownUser, ErrUserCancelled, ErrUnknownIdentity (also when it
// was unbound before), ErrSeveralIdentities, ErrNoReason.
func (db *DB) Unbind(ctx context.Context, u Unbinding) (Outcome, error) {
	return Outcome{}, errors.ErrUnsupported
}

// Cancelling names the user to cancel: by his id, or by an openid, as WeChat
// names somebody who withdrew his grant.
type Cancelling struct {
	UserID        string // either this; a replaced id stands for its survivor
	AppID, OpenID string // or this
	By            By
}

// Cancel cancels the account of a member or of a guest with a row (O2): his
// rows go, his phone is free, all his sessions are dead, user.cancelled is
// written, and who comes back is a new person. The Outcome is nobody; to cancel
// again changes nothing.
//
// Errors: ErrUnknownUser (also for an openid that nobody has), ErrNoReason.
func (db *DB) Cancel(ctx context.Context, c Cancelling) (Outcome, error) {
	return Outcome{}, errors.ErrUnsupported
}

// Merging names two members of whom one replaces the other.
type Merging struct {
	From, To string // replaced ids stand for their survivors
	By       By
}

// Merge replaces the member From by the member To (O3): To gets the WeChat
// accounts, From's phone is released (phone.unbound), user.merged names
// everybody who answers to To now, and open conflicts between the two close.
// Under one_to_one two members with a unionid in one scope are refused with
// CodeUserIDBoundToOtherWeChat. Merging who is one already changes nothing.
//
// Errors: ErrUnknownUser, ErrUserCancelled, ErrNotMember, ErrNoReason.
func (db *DB) Merge(ctx context.Context, rules Rules, m Merging) (Outcome, error) {
	return Outcome{}, errors.ErrUnsupported
}

// MergePreview is what a Merge would do now.
type MergePreview struct {
	Code      Code             `json:"code"` // ok, or the refusal
	From      Summary          `json:"from"`
	To        Summary          `json:"to"`
	Moves     []PersonIdentity `json:"moves"`          // rows that To would get
	Aliases   []string         `json:"aliases"`        // ids that would answer to To
	Released  string           `json:"phone_released"` // masked; empty: none
	Conflicts []string         `json:"conflicts"`      // ids of those that would close
}

// PreviewMerge says what Merge would do and changes nothing. It needs no By.
func (db *DB) PreviewMerge(ctx context.Context, rules Rules, m Merging) (MergePreview, error) {
	return MergePreview{}, errors.ErrUnsupported
}

// MaxOpenIDMoves bounds one MapOpenIDs, so that its transaction stays short.
const MaxOpenIDMoves = 1000

// OpenIDMove says which openid a person has since an official account moved.
type OpenIDMove struct {
	OldAppID, OldOpenID, NewAppID, NewOpenID string
}

// OpenIDMap is (a part of) an openid map.
type OpenIDMap struct {
	Moves     []OpenIDMove // at most MaxOpenIDMoves
	RetireOld bool         // the company changed: the old rows go
	DryRun    bool         // report only
	By        By
}

// MapReport counts what became of an openid map. Lines are indices of Moves.
type MapReport struct {
	Members int   `json:"members"` // new rows of members
	Guests  int   `json:"guests"`  // new rows of guests
	Retired int   `json:"retired"` // old rows removed
	Known   int   `json:"known"`   // the new openid is this person's already
	Unknown []int `json:"unknown"` // lines whose old openid nobody has
	Taken   []int `json:"taken"`   // lines whose new openid is somebody else's: left alone
}

// MapOpenIDs imports an openid map (O4): the new openids of members go into
// imported rows, those of guests into visitor rows. It may be repeated.
//
// Errors: ErrTooManyMoves, ErrNoReason.
func (db *DB) MapOpenIDs(ctx context.Context, m OpenIDMap) (MapReport, error) {
	return MapReport{}, errors.ErrUnsupported
}

// Rebinding names an app that was bound to another Open Platform account.
type Rebinding struct {
	AppID  string
	DryRun bool // report only
	By     By
}

// RebindReport counts what a Rebind has made of an app's rows.
type RebindReport struct {
	Members int `json:"members"` // rows of members that wait for their new unionid
	Guests  int `json:"guests"`  // rows of guests that do
	Nobody  int `json:"nobody"`  // rows with an empty user id, removed
	// Elsewhere counts the rows whose unionid lives on in other apps. If those
	// were not rebound too, they meet repair_conflict under one_to_one.
	Elsewhere int `json:"elsewhere"`
}

// Rebind makes the rows of an app imported rows, which take the new unionid
// when it arrives (O5). It may be repeated: stand-ins and rows that wait
// already are left alone.
//
// Errors: ErrNoReason.
func (db *DB) Rebind(ctx context.Context, r Rebinding) (RebindReport, error) {
	return RebindReport{}, errors.ErrUnsupported
}

// Match is a user whom Find has found.
type Match struct {
	Summary
	// By says what was found: user_id, previous_id, phone, openid or unionid.
	By    string `json:"by"`
	AppID string `json:"appid,omitempty"` // of an openid, or of a stand-in
}

// Find returns the users whom a text names: as user id, replaced id, phone
// number, openid or unionid. None is no error.
func (db *DB) Find(ctx context.Context, term string) ([]Match, error) {
	return nil, errors.ErrUnsupported
}

// Summary is a user in one line. Phones are masked.
type Summary struct {
	ID        string     `json:"id"`
	Kind      Kind       `json:"kind"`
	Phone     string     `json:"phone,omitempty"` // masked
	Created   time.Time  `json:"created"`
	LastSeen  time.Time  `json:"last_seen"`
	Cancelled *time.Time `json:"cancelled,omitempty"`
}

// Person is everything that is kept about one person. Phones are masked.
type Person struct {
	Summary
	SessionsFrom *time.Time        `json:"sessions_from,omitempty"` // sessions issued before are dead
	Identities   []PersonIdentity  `json:"identities"`
	Visitors     []PersonIdentity  `json:"visitors"`
	Previous     []PreviousID      `json:"previous"`
	Events       []PersonEvent     `json:"events"`
	Conflicts    []ConflictRecord  `json:"conflicts"`
	Operations   []OperationRecord `json:"operations"`
}

// PersonIdentity is an identity or visitor row of a person.
type PersonIdentity struct {
	AppID   string    `json:"appid"`
	OpenID  string    `json:"openid"`
	UnionID string    `json:"unionid,omitempty"` // empty: unknown
	StandIn bool      `json:"stand_in,omitempty"`
	Created time.Time `json:"created"`
}

// PreviousID is an id that answers to the person now.
type PreviousID struct {
	ID       string    `json:"id"`
	Kind     Kind      `json:"kind"`
	Created  time.Time `json:"created"`
	MergedAt time.Time `json:"merged_at"`
}

// PersonEvent is an event as it stands in the queue.
type PersonEvent struct {
	Seq     int64           `json:"seq"`
	ID      string          `json:"id"`
	Type    EventType       `json:"type"`
	Subject string          `json:"subject"`
	Time    time.Time       `json:"time"`
	Data    json.RawMessage `json:"data"`
}

// Person returns everything that is kept about one person, the rows of his
// replaced ids included. A replaced id stands for its survivor.
//
// Errors: ErrUnknownUser.
func (db *DB) Person(ctx context.Context, id string) (Person, error) {
	return Person{}, errors.ErrUnsupported
}

// ConflictRecord is a conflict as operators see it.
type ConflictRecord struct {
	Conflict
	AppID  string     `json:"appid,omitempty"` // where it was met
	OpenID string     `json:"openid,omitempty"`
	Opened time.Time  `json:"opened"`
	Closed *time.Time `json:"closed,omitempty"`
}

// Page asks for a part of a list, newest first.
type Page struct {
	After string // the id of the last one of the part before; empty: from the newest
	Limit int    // default 100, at most 1000
}

// Conflicts lists the open or the closed conflicts, the newest first.
func (db *DB) Conflicts(ctx context.Context, closed bool, page Page) ([]ConflictRecord, error) {
	return nil, errors.ErrUnsupported
}

// CloseConflict closes a conflict that an operator has looked at, with
// conflict.closed. One that is closed already stays as it is.
//
// Errors: ErrUnknownConflict, ErrNoReason.
func (db *DB) CloseConflict(ctx context.Context, id string, by By) error {
	return errors.ErrUnsupported
}

// Action names what an operator did.
type Action string

const (
	ActionUnbind        Action = "unbind"
	ActionCancel        Action = "cancel"
	ActionMerge         Action = "merge"
	ActionRevoke        Action = "revoke"
	ActionMapOpenIDs    Action = "map_openids"
	ActionRebind        Action = "rebind"
	ActionCloseConflict Action = "close_conflict"
	ActionImport        Action = "import"
	ActionRepair        Action = "repair"
)

// OperationRecord is what an operator did.
type OperationRecord struct {
	ID      string          `json:"id"`
	Time    time.Time       `json:"time"`
	Action  Action          `json:"action"`
	Subject string          `json:"subject"` // user id, conflict id or appid
	Reason  string          `json:"reason"`
	Detail  json.RawMessage `json:"detail"`
}

// Operations lists what operators did, the newest first. With a subject, only
// what they did to it.
func (db *DB) Operations(ctx context.Context, subject string, page Page) ([]OperationRecord, error) {
	return nil, errors.ErrUnsupported
}
