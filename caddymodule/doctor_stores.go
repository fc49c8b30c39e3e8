package caddymodule

import (
	"context"
	"fmt"
	"time"
)

// database looks whether accounts can be read and written.
func (up checkup) database(ctx context.Context) []finding {
	f := finding{Check: "database", Subject: "database", State: stateOK, Text: "it can be read and written"}
	const advice = "Logins do not work meanwhile, and known users are served from memory for stale_for."
	if err := up.db.CheckRead(ctx); err != nil {
		f.State, f.Text, f.Advice = stateError, err.Error(), advice
		return []finding{f}
	}
	if err := up.db.CheckWrite(ctx); err != nil {
		f.State, f.Text, f.Advice = stateError, err.Error(), "Logins do not work meanwhile; whoever is known goes on."
	}
	all := []finding{f}
	if free, found := up.db.Space(); found {
		all = append(all, diskFinding(free))
	}
	sent := time.Now()
	if now, found, err := up.db.Clock(ctx); err == nil && found {
		all = append(all, clockFinding("database", sample{now, sent, time.Now(), time.Millisecond}))
	}
	return all
}

// What a disk needs, in bytes: some days of new members, and the copy that a
// backup makes; and what the next hour may take.
const (
	diskWarning = 1 << 30
	diskError   = 100 << 20
)

// diskFinding says whether there is room on the database's disk.
func diskFinding(free uint64) finding {
	f := finding{Check: "disk", Subject: "database", State: stateOK, Text: fmt.Sprintf("the disk that it is on has %d MB left", free>>20)}
	if free >= diskWarning {
		return f
	}
	f.State, f.Advice = stateWarning, "Make room, or move the file to a larger disk: on a full one nobody can log in for the first time."
	if free < diskError {
		f.State = stateError
	}
	return f
}

// redis looks whether what is short-lived can be shared, where it is.
func (up checkup) redis(ctx context.Context) []finding {
	if up.app.redis == nil {
		return nil
	}
	f := finding{Check: "redis", Subject: "redis", State: stateOK, Text: "it answers"}
	sent := time.Now()
	now, err := up.app.redis.Clock(ctx)
	if err != nil {
		f.State, f.Text = stateError, err.Error()
		f.Advice = "Codes by SMS do not work meanwhile, and a login has to end on the gateway where it began."
		return []finding{f}
	}
	return []finding{f, clockFinding("redis", sample{now, sent, time.Now(), time.Millisecond})}
}
