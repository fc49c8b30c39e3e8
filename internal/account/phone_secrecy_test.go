package account

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// spellings are the ways in which a number could be found without its key.
func spellings(p Phone) map[string][]byte {
	national := string(p[3:])
	all := map[string][]byte{
		"the number":           []byte(national),
		"most of the number":   []byte(national[1:9]),
		"the number as UTF-16": []byte(strings.Join(strings.Split(national, ""), "\x00")),
		"the number as hex":    fmt.Appendf(nil, "%x", national),
	}
	for _, text := range []string{string(p), national} {
		sum := sha256.Sum256([]byte(text))
		all["a hash that can be guessed: "+text] = sum[:]
		all["a hash that can be guessed, as hex: "+text] = fmt.Appendf(nil, "%x", sum)
	}
	return all
}

// phoneLife is what becomes of two numbers: members are made by phone, log in by
// it, are refused, are looked for and merged, and programs make mistakes.
// Everything that is answered goes to the log, as a careless program would do.
type phoneLife struct {
	t    *testing.T
	db   *DB
	log  *bytes.Buffer
	both [2]Phone
}

func (l *phoneLife) said(what any, err error) {
	fmt.Fprintf(l.log, "%v %+v %#v %v\n", what, what, what, err)
}

func (l *phoneLife) link(in Input, p Phone) Outcome {
	l.t.Helper()
	in.Phone = p
	out, err := l.db.Link(l.t.Context(), phoneMode(), in)
	l.said(in, err)
	l.said(out, err)
	must(l.t, err)
	return out
}

func (l *phoneLife) logIn() (him, her string) {
	l.t.Helper()
	his, hers := l.both[0], l.both[1]
	outside := Input{Outside: true}.login()
	him, her = l.link(outside, his).UserID, l.link(outside, hers).UserID
	l.link(proved("oa", "x", "X").login(), his)
	as := outside
	as.UserID, as.UserKind = her, Member
	for what, refused := range map[Code]Outcome{
		CodePhoneBoundToOtherWeChat: l.link(proved("oa", "y", "Y").login(), his),
		CodePhoneOwnedByOtherUser:   l.link(as, his),
		CodePhoneChangeNeedsFlow:    l.link(as, "+8613800000000"),
	} {
		if refused.Code != what {
			l.t.Errorf("%+v instead of %s", refused, what)
		}
	}
	_, err := l.db.Link(l.t.Context(), phoneMode(), Input{Phone: his[3:]})
	if l.said("another form", err); err == nil {
		l.t.Error("a number in another form was taken")
	}
	return him, her
}

func (l *phoneLife) operate(him, her string) {
	l.t.Helper()
	for _, term := range []string{string(l.both[0]), string(l.both[1][3:])} {
		found, err := l.db.Find(l.t.Context(), term)
		if l.said(found, err); err != nil || len(found) != 1 {
			l.t.Errorf("%d found, %v", len(found), err)
		}
	}
	merging := Merging{From: her, To: him, By: By{Operator: true, Reason: "asked for it"}}
	for _, look := range []func() (any, error){
		func() (any, error) { return l.db.Person(l.t.Context(), him) },
		func() (any, error) { return l.db.PreviewMerge(l.t.Context(), Rules{}, merging) },
		func() (any, error) { return l.db.Merge(l.t.Context(), Rules{}, merging) },
		func() (any, error) { return l.db.Conflicts(l.t.Context(), false, Page{Limit: 100}) },
		func() (any, error) { return l.db.Events(l.t.Context(), 0, 100) },
		func() (any, error) { return l.db.Operations(l.t.Context(), him, Page{Limit: 100}) },
	} {
		what, err := look()
		l.said(what, err)
		must(l.t, err)
	}
}

// Attack: somebody gets the database's files, a backup or the log.
func TestNoPhoneNumberIsInTheDatabaseTheLogOrAnError(t *testing.T) {
	dir := t.TempDir()
	l := &phoneLife{t: t, log: new(bytes.Buffer), both: [2]Phone{"+8613912345678", "+8618687654321"}}
	var err error
	l.db, err = Open(t.Context(), Config{URL: "sqlite:" + filepath.Join(dir, "accounts.db")})
	must(t, err)
	l.db.LogTo(slog.New(slog.NewTextHandler(l.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer l.db.Close()
	must(t, l.db.Unlock(t.Context(), secrets{"first"}))
	l.operate(l.logIn())

	found := map[string][]byte{"the log": l.log.Bytes()}
	for _, path := range []string{"accounts.db", "accounts.db-wal"} { // the WAL keeps what was overwritten
		found[path], err = os.ReadFile(filepath.Join(dir, path))
		must(t, err)
	}
	for where, what := range found {
		for _, p := range l.both {
			for how, spelled := range spellings(p) {
				if bytes.Contains(what, spelled) {
					t.Errorf("%s holds %s", where, how)
				}
			}
		}
	}
	database := append(found["accounts.db"], found["accounts.db-wal"]...)
	for what, looked := range map[string]bool{
		"the log": bytes.Contains(l.log.Bytes(), []byte("+86 139****5678")), "phone.unbound": bytes.Contains(database, []byte("+86 186****4321")),
	} {
		if !looked {
			t.Errorf("%s shows no masked number: nothing was looked at", what)
		}
	}
}
