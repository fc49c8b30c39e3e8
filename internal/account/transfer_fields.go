package account

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// field is a column of the files that Import reads and Export writes.
type field int

const (
	fieldUserID field = iota
	fieldPhone
	fieldAppID
	fieldOpenID
	fieldUnionID
	fieldCreated
	fieldLastSeen
	shopFields // those before it may stand in a file of a shop's own

	fieldKind field = iota - 1
	fieldScope
	fieldLinked
	fieldMergedInto
	fieldMergedAt
	fieldCancelled
	fieldSessionsFrom
	fieldCount
)

// ownPrefix marks the columns that only an export has, so that no column of a
// shop's table is taken for one of them.
const ownPrefix = "wxgate_"

// String returns the name of the column.
func (f field) String() string {
	return [fieldCount]string{
		"user_id", "phone", "appid", "openid", "unionid", "created", "last_seen",
		ownPrefix + "kind", ownPrefix + "scope", ownPrefix + "linked", ownPrefix + "merged_into",
		ownPrefix + "merged_at", ownPrefix + "cancelled", ownPrefix + "sessions_from",
	}[f]
}

// TransferColumns returns the columns that a file of a shop's own may have.
// user_id is needed, all others may be missing or empty.
func TransferColumns() []string {
	names := make([]string, shopFields)
	for f := range shopFields {
		names[f] = f.String()
	}
	return names
}

func fieldNamed(name string) (field, bool) {
	for f := range fieldCount {
		if f.String() == name {
			return f, true
		}
	}
	return 0, false
}

// values are the texts of one row, empty where there is none.
type values [fieldCount]string

// record is one row of a file. Times are Unix milliseconds; 0 means none.
type record struct {
	line   int
	userID string // empty: an export's row of a unionid that has no user yet
	kind   Kind   // empty: a row that does not say
	own    bool   // a row of an export
	phone  phone
	// noPhone says why the row's phone is left out: old tables hold all kinds of
	// numbers, and their users are welcome without.
	noPhone string

	appID, openID, scope, unionID string

	created, lastSeen, linked, cancelled, sessionsFrom int64

	mergedInto string
	mergedAt   int64
}

// rowError refuses one row and not the file.
type rowError struct {
	line   int
	column string // the column's name, or `character 17` where the row has none
	reason string
}

// Error implements error.
func (e *rowError) Error() string { return fmt.Sprintf("line %d, %s: %s", e.line, e.column, e.reason) }

// nobody is the kind of a row whose unionid has no user yet.
const nobody = "nobody"

// parse reads the values of a row. The error is a *rowError.
func (db *DB) parse(line int, v values) (record, error) {
	r := record{line: line, userID: v[fieldUserID], appID: v[fieldAppID], openID: v[fieldOpenID], unionID: v[fieldUnionID]}
	for f := range fieldCount {
		if err := db.parseField(&r, f, v[f]); err != nil {
			return r, &rowError{line, f.String(), err.Error()}
		}
	}
	if r.scope == "" && r.unionID == r.openID {
		r.unionID = "" // shops fill the gap so
	}
	f, reason := r.contradiction()
	if reason != "" {
		return r, &rowError{line, f.String(), reason}
	}
	return r, nil
}

func (db *DB) parseField(r *record, f field, text string) (err error) {
	if text == "" {
		return nil
	}
	switch f {
	case fieldUserID:
		return CheckUserID(text)
	case fieldPhone:
		r.phone, err = db.parsePhone(text)
		if none := (*PhoneError)(nil); errors.As(err, &none) {
			r.noPhone, err = none.Error(), nil
		}
	case fieldAppID, fieldScope:
		if !appIDForm.MatchString(text) {
			return errors.New("it is no appid: letters and digits, at most 64")
		}
		if f == fieldScope {
			r.scope = text
		}
	case fieldOpenID, fieldUnionID:
		if !openIDForm.MatchString(text) {
			return errors.New("it is none of WeChat's: letters, digits, - and _, at most 64")
		}
	case fieldKind:
		if r.own, r.kind = true, Kind(text); r.kind != Member && r.kind != Guest && r.kind != nobody {
			return errors.New("it is none of member, guest, nobody")
		}
	case fieldMergedInto:
		r.mergedInto = text
		return CheckUserID(text)
	default:
		*r.time(f), err = parseTime(text)
	}
	return err
}

// time returns where the time of a field is kept.
func (r *record) time(f field) *int64 {
	switch f {
	case fieldCreated:
		return &r.created
	case fieldLastSeen:
		return &r.lastSeen
	case fieldLinked:
		return &r.linked
	case fieldMergedAt:
		return &r.mergedAt
	case fieldCancelled:
		return &r.cancelled
	}
	return &r.sessionsFrom
}

// contradiction finds what a row may not say as a whole.
func (r *record) contradiction() (field, string) {
	gone := r.mergedInto != "" || r.cancelled != 0
	switch {
	case r.userID == "" && r.kind != nobody:
		return fieldUserID, "it is empty"
	case r.userID != "" && r.kind == nobody:
		return fieldUserID, "it is given, and the row says that there is nobody"
	case r.kind == nobody && (r.unionID == "" || r.openID == ""):
		return fieldOpenID, "it is empty, or the unionid is, and the row says nothing else"
	case r.openID != "" && r.appID == "":
		return fieldAppID, "it is empty: an openid belongs to an app"
	case r.scope != "" && (r.scope != r.appID || r.unionID != r.openID):
		return fieldScope, "it is not the appid of an openid that stands in for its unionid"
	case (r.mergedInto == "") != (r.mergedAt == 0):
		return fieldMergedAt, "it comes with " + fieldMergedInto.String()
	case r.mergedInto != "" && r.mergedInto == r.userID:
		return fieldMergedInto, "it is the user himself"
	case gone && (r.openID != "" || r.phone.key != ""):
		return fieldOpenID, "it, or a phone, is given, and the user is merged or cancelled"
	case r.kind == Guest && r.phone.key != "":
		return fieldPhone, "it is given, and the user is a guest"
	}
	return 0, ""
}

var (
	appIDForm  = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)
	openIDForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

func (db *DB) parsePhone(text string) (phone, error) {
	number, err := ParsePhone(text)
	if err != nil {
		return phone{}, err
	}
	return db.parsedPhone(number)
}

// secondsBefore separates Unix seconds from milliseconds: as seconds it is the
// year 5138, as milliseconds 1973.
const secondsBefore = 100_000_000_000

// parseTime reads RFC 3339 or a Unix time. The databases' own forms have no
// zone, and guessing it would be wrong by hours.
func parseTime(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err == nil {
		if n < secondsBefore {
			n *= 1000
		}
	} else {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return 0, errors.New("it is no time: write 2024-05-01T08:00:00+08:00, or Unix seconds or milliseconds")
		}
		n = millis(t)
	}
	if n <= 0 || n > millis(time.Now())+24*3600*1000 {
		return 0, errors.New("it is a time before 1970 or in the future")
	}
	return n, nil
}
