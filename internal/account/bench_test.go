package account

import (
	"strconv"
	"testing"
	"time"
)

func BenchmarkResolve(b *testing.B) {
	w := newWorld(b, Rules{}, "member U1", "identity oa x X U1", "guest V1 1", "merged V1 U1")
	for name, ref := range map[string]SessionRef{
		"member":        {ID: "s", UserID: "U1", Kind: Member, IssuedAt: time.Now()},
		"merged guest":  {ID: "s", UserID: "V1", Kind: Guest, UnionID: "X", IssuedAt: time.Now()},
		"browser guest": {ID: "s", UserID: "V9", Kind: Guest, IssuedAt: time.Now()},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := w.db.Resolve(b.Context(), ref); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPrimaryKey is the least that any answer of the database costs.
func BenchmarkPrimaryKey(b *testing.B) {
	w := newWorld(b, Rules{}, "member U1")
	stmt, err := w.db.read.Prepare(`SELECT kind FROM wxgate_user WHERE id = ?`)
	must(b, err)
	defer stmt.Close()
	var kind string
	for b.Loop() {
		must(b, stmt.QueryRowContext(b.Context(), "U1").Scan(&kind))
	}
}

func BenchmarkLinkKnown(b *testing.B) {
	w := newWorld(b, Rules{}, "member U1", "identity oa x X U1")
	for name, in := range map[string]Input{
		"by openid": at("oa", "x"), "by unionid": proved("oa", "x", "X"), "with a session": proved("oa", "x", "X").as("U1"),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := w.db.Link(b.Context(), w.rules, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLinkNewVisitor(b *testing.B) {
	w := newWorld(b, Rules{})
	for i := 0; b.Loop(); i++ {
		n := strconv.Itoa(i)
		if _, err := w.db.Link(b.Context(), w.rules, proved("oa", "x"+n, "X"+n)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDurableInsert is the least that any new row costs.
func BenchmarkDurableInsert(b *testing.B) {
	w := newWorld(b, Rules{})
	for i := 0; b.Loop(); i++ {
		w.exec(`INSERT INTO wxgate_user (id, kind, created, last_seen) VALUES (?, 'guest', 0, 0)`, strconv.Itoa(i))
	}
}

func BenchmarkNewGuestID(b *testing.B) {
	w := newWorld(b, Rules{})
	for b.Loop() {
		if _, err := w.db.NewGuestID(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
