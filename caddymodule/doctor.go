package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/wxgate/wxgate/internal/account"
)

// States of a finding, the worst last.
const (
	stateOK      = "ok"
	stateUnknown = "unknown" // it cannot be found out from here
	stateWarning = "warning" // it works, and may not be meant so
	stateError   = "error"   // it does not work, or lets strangers in
)

// finding is one thing that the doctor has looked at.
type finding struct {
	Check   string `json:"check"`   // app, unionid, callback, site, shop, database, disk, redis, webhook, clock or setting
	Subject string `json:"subject"` // an appid, a site, an option
	State   string `json:"state"`
	Text    string `json:"text"`
	Advice  string `json:"advice,omitempty"` // what to do about it
}

// checkup is what the doctor looks at.
type checkup struct {
	app *App
	db  *account.DB
	web *caddyhttp.App // nil: there is none
	raw rawConfig
}

// doctorRoutes are the routes that say what is wrong with a gateway.
func doctorRoutes() []adminRoute {
	r := get("doctor", serveDoctor)
	r.long = true // as long as what does not answer takes
	return []adminRoute{r}
}

type doctorView struct {
	Findings []finding `json:"findings"`
}

func serveDoctor(c *adminCall) error {
	up := checkup{app: c.app, db: c.db}
	if web, err := c.app.ctx.AppIfConfigured("http"); err == nil {
		up.web = web.(*caddyhttp.App)
	}
	var err error
	if up.raw, err = c.rawConfig(); err != nil {
		return err
	}
	return c.answer(doctorView{up.examine(c)})
}

// examine looks at everything at once: what does not answer takes seconds.
func (up checkup) examine(ctx context.Context) []finding {
	var checks []func(context.Context) []finding
	for kind, o := range up.app.weChatApps() {
		checks = append(checks, func(ctx context.Context) []finding { return up.weChatApp(ctx, kind, o) })
	}
	for _, h := range up.app.handlers {
		checks = append(checks, func(ctx context.Context) []finding { return up.site(ctx, h) })
	}
	checks = append(checks, up.database, up.redis, up.webhooks, up.settings)
	found := make([][]finding, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		wg.Go(func() { found[i] = check(ctx) })
	}
	wg.Wait()
	return slices.Concat(found...)
}

// How far clocks may be apart. Tokens of the gateway are backdated by the
// first, and codes live for some minutes.
const (
	clockWarning = 5 * time.Second
	clockError   = time.Minute
)

// sample is a clock of somebody else's, read between two looks at ours.
type sample struct {
	now, sent, came time.Time
	exact           time.Duration // how exact it is
}

// clockFinding compares a clock with ours.
func clockFinding(subject string, r sample) finding {
	f := finding{Check: "clock", Subject: subject, State: stateOK, Text: "it agrees with this server's"}
	var off time.Duration // of ours, at least
	switch {
	case r.now.After(r.came):
		off = r.now.Sub(r.came)
	case r.now.Add(r.exact).Before(r.sent):
		off = -r.sent.Sub(r.now.Add(r.exact))
	}
	side := "behind"
	if off < 0 {
		off, side = -off, "ahead of"
	}
	switch {
	case off >= clockError:
		f.State = stateError
	case off >= clockWarning:
		f.State = stateWarning
	default:
		return f
	}
	f.Text = fmt.Sprintf("this server's clock is %s %s it", off.Round(time.Second), side)
	f.Advice = "Let a time service (chrony, systemd-timesyncd) set the clock of whichever is wrong: sessions, codes and assertions end too early or too late."
	return f
}

// rawConfig is the part of Caddy's configuration that settings are read from.
type rawConfig struct {
	Admin struct {
		Listen string `json:"listen"`
	} `json:"admin"`
	Logging struct {
		Logs map[string]rawLog `json:"logs"`
	} `json:"logging"`
	Apps struct {
		HTTP struct {
			Servers map[string]rawServer `json:"servers"`
		} `json:"http"`
	} `json:"apps"`
}

type rawServer struct {
	// TrustedProxies is nil where there are none. Ranges that come from somewhere
	// else than the configuration are not in it.
	TrustedProxies *struct {
		Ranges []string `json:"ranges"`
	} `json:"trusted_proxies"`
}

type rawLog struct {
	Include []string `json:"include"`
	Exclude []string `json:"exclude"`
	Encoder struct {
		Format string              `json:"format"`
		Fields map[string]rawField `json:"fields"`
	} `json:"encoder"`
}

type rawField struct {
	Filter  string      `json:"filter"`
	Actions []rawAction `json:"actions"`
}

type rawAction struct {
	Parameter string `json:"parameter"`
}

// rawConfig asks the admin endpoint that this call has come in by. Caddy shows
// its configuration nowhere else.
func (c *adminCall) rawConfig() (raw rawConfig, err error) {
	srv, _ := c.r.Context().Value(http.ServerContextKey).(*http.Server)
	if srv == nil {
		return raw, newProblem(http.StatusInternalServerError, "internal", "the admin endpoint is not known")
	}
	r := c.r.Clone(c)
	r.Method, r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.RequestURI = http.MethodGet, "/config/", "", "", "/config/"
	w := &kept{unsent: unsent{header: http.Header{}}}
	srv.Handler.ServeHTTP(w, r)
	if err := json.Unmarshal(w.body, &raw); err != nil {
		return raw, fmt.Errorf("reading Caddy's configuration: %w", err)
	}
	return raw, nil
}

// kept is an answer that is read here.
type kept struct {
	unsent
	body []byte
}

func (k *kept) Write(b []byte) (int, error) {
	k.body = append(k.body, b...)
	return k.unsent.Write(b)
}
