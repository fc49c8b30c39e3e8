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

// Attack: somebody gets the database's files, a backup or the log. Members are
// made by phone, log in by it, are refused, change hands, are looked for and
// merged, and programs make mistakes.
func TestNoPhoneNumberIsInTheDatabaseTheLogOrAnError(t *testing.T) {
	dir := t.TempDir()
	log := new(bytes.Buffer)
	db, err := Open(t.Context(), Config{
		URL: "sqlite:" + filepath.Join(dir, "accounts.db"), Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	must(t, err)
	defer db.Close()
	must(t, db.Unlock(t.Context(), secrets{"first"}))
	const his, hers, odd Phone = "+8613912345678", "+8618687654321", "13912345678"
	rules := phoneMode()

	said := func(what any, err error) { fmt.Fprintf(log, "%v %+v %v\n", what, what, err) }
	link := func(in Input) Outcome {
		t.Helper()
		out, err := db.Link(t.Context(), rules, in)
		said(out, err)
		must(t, err)
		return out
	}
	with := func(in Input, p Phone) Input { in.Phone = p; return in }
	him := link(with(Input{Outside: true}.login(), his))
	her := link(with(Input{Outside: true}.login(), hers))
	if him.Kind != Member || her.Kind != Member || him.UserID == her.UserID {
		t.Fatalf("%+v %+v", him, her)
	}
	member := func(in Input, id string) Input { in.UserID, in.UserKind = id, Member; return in }
	link(with(Input{Outside: true}.login(), his))
	link(with(proved("oa", "x", "X").login(), his))
	link(with(proved("oa", "y", "Y").login(), his))                                // P4
	link(with(member(Input{Outside: true}, her.UserID), his))                      // N5: another's
	link(with(member(Input{Outside: true}, her.UserID), "+8613800000000").login()) // N5: his is another

	_, err = db.Link(t.Context(), rules, with(Input{Outside: true}, odd))
	if said(with(Input{}, odd), err); err == nil {
		t.Error("a number in another form was taken")
	}
	for _, term := range []string{string(his), string(hers[3:]), "139-1234-5678"} {
		found, err := db.Find(t.Context(), term)
		if said(found, err); err != nil || len(found) != 1 {
			t.Errorf("%d found, %v", len(found), err)
		}
	}
	person, err := db.Person(t.Context(), him.UserID)
	said(person, err)
	must(t, err)
	by := By{Operator: true, Reason: "asked for it"}
	preview, err := db.PreviewMerge(t.Context(), rules, Merging{From: her.UserID, To: him.UserID, By: by})
	said(preview, err)
	merged, err := db.Merge(t.Context(), rules, Merging{From: her.UserID, To: him.UserID, By: by})
	said(merged, err)
	must(t, err)
	page, err := db.Events(t.Context(), 0, 100)
	said(page, err)
	must(t, err)
	operations, err := db.Operations(t.Context(), him.UserID, Page{Limit: 100})
	said(operations, err)
	must(t, err)

	found := map[string][]byte{"the log": log.Bytes()}
	for _, path := range []string{"accounts.db", "accounts.db-wal"} { // the WAL keeps what was overwritten
		found[path], err = os.ReadFile(filepath.Join(dir, path))
		must(t, err)
	}
	for where, what := range found {
		for _, p := range []Phone{his, hers} {
			for how, spelled := range spellings(p) {
				if bytes.Contains(what, spelled) {
					t.Errorf("%s holds %s", where, how)
				}
			}
		}
	}
	for _, masked := range []string{"+86 139****5678", "+86 186****4321", him.UserID} {
		if !bytes.Contains(log.Bytes(), []byte(masked)) {
			t.Errorf("the log does not show %q: nothing was looked at", masked)
		}
	}
	if !bytes.Contains(append(found["accounts.db"], found["accounts.db-wal"]...), []byte("+86 186****4321")) {
		t.Error("the database holds no phone.unbound: nothing was looked at")
	}
}
