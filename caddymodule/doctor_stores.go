package caddymodule

import (
	"context"
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
	sent := time.Now()
	now, found, err := up.db.Clock(ctx)
	if err != nil || !found {
		return []finding{f}
	}
	return []finding{f, clockFinding("database", sample{now, sent, time.Now(), time.Millisecond})}
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
