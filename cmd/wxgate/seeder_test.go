package main

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/account"
)

// seeder stores people, as visits would have.
type seeder struct {
	t          *testing.T
	db         *account.DB
	databaseAt string // URL
}

// link is a visit.
func (s *seeder) link(in account.Input) string {
	s.t.Helper()
	rules := account.Rules{FirstLogin: account.FirstLoginWeChat, Linking: account.OneToOne}
	out, err := s.db.Link(context.Background(), rules, in)
	if err != nil {
		s.t.Fatal(err)
	}
	return out.UserID
}

// webhook adds one.
func (s *seeder) webhook(r account.Receiver) {
	s.t.Helper()
	if err := s.db.AddReceiver(context.Background(), r, time.Now()); err != nil {
		s.t.Fatal(err)
	}
}

// giveUp ends the attempts to send a webhook its first event.
func (s *seeder) giveUp(webhook string) {
	s.t.Helper()
	now := time.Now()
	t := account.Taking{ReceiverID: webhook, Holder: "seeder", Now: now, Until: now.Add(time.Hour), Limit: 1}
	batch, err := s.db.TakeDeliveries(context.Background(), t)
	if err != nil || len(batch.Deliveries) != 1 {
		s.t.Fatalf("%+v, %v", batch, err)
	}
	d := &batch.Deliveries[0]
	d.Attempts, d.FirstTried, d.Due, d.Parked, d.Said = 76, now, now, now, "the shop answered 500"
	if err := s.db.PutBack(context.Background(), t, nil, batch.Deliveries); err != nil {
		s.t.Fatal(err)
	}
}

// happened moves all events in time. In the future, merges do not become settled
// while a test runs.
func (s *seeder) happened(ago time.Duration) {
	s.t.Helper()
	db, err := sql.Open("sqlite", strings.TrimPrefix(s.databaseAt, "sqlite:"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`UPDATE wxgate_event SET time = time - ?`, ago.Milliseconds()); err != nil {
		s.t.Fatal(err)
	}
}
