package caddymodule

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/dbtest"
)

// hooked runs a gateway whose webhook answers as it likes, and returns what its
// doctor says.
func hooked(t *testing.T, answer http.HandlerFunc) []finding {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return newRig(t).ailing(setup{app: inOrder + "\nwebhook " + server.URL + "/hook?token=sesame {\nsecret " + hookSecret + "\n}", site: "login /me/*"})
}

func TestDoctorAsksWebhooksWhatTheyTake(t *testing.T) {
	hook, err := standardwebhooks.NewWebhook(hookSecret)
	if err != nil {
		t.Fatal(err)
	}
	answers := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		state  string
		words  []string
	}{
		"in order": {func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err = errors.Join(err, hook.Verify(body, r.Header)); err != nil {
				w.WriteHeader(http.StatusUnauthorized)
			}
		}, stateOK, []string{"takes what the gateway has signed"}},
		"checks no signature": {answers(204), stateError, []string{"takes what a stranger has signed", "docs/events.md"}},
		"another secret":      {answers(401), stateError, []string{"answers 401", "Compare its secret"}},
		"nothing there":       {answers(404), stateError, []string{"answers 404", "path"}},
		"elsewhere":           {answers(301), stateError, []string{"answers 301", "redirects"}},
		"broken":              {answers(500), stateError, []string{"answers 500", "log"}},
	} {
		t.Run(name, func(t *testing.T) {
			all := hooked(t, tt.answer)
			if !says(all, "webhook", tt.state, append(tt.words, "/hook")...) {
				t.Errorf("%+v", all)
			}
			for _, f := range all {
				if strings.Contains(f.Subject+f.Text, "sesame") {
					t.Errorf("the query of the URL may be secret: %+v", f)
				}
			}
		})
	}
	t.Run("not there", func(t *testing.T) {
		all := newRig(t).ailing(setup{app: inOrder + "\nwebhook http://127.0.0.1:" + dbtest.Port(t) + "/hook {\nsecret " + hookSecret + "\n}", site: "login /me/*"})
		if !says(all, "webhook", stateError, "refused", "can be reached") {
			t.Errorf("%+v", all)
		}
	})
}

func TestDoctorSaysWhichEventsAreMissed(t *testing.T) {
	now := time.Now()
	receiver := account.Receiver{ID: "1", Name: "https://shop.test/hook"}
	for name, tt := range map[string]struct {
		state      account.ReceiverState
		configured bool
		want       string
		words      string
	}{
		"none":                    {account.ReceiverState{}, true, "", ""},
		"some on their way":       {account.ReceiverState{Waiting: 3, Oldest: now.Add(-time.Minute)}, true, "", ""},
		"some for long":           {account.ReceiverState{Waiting: 3, Oldest: now.Add(-2 * time.Hour), Said: "the shop answered 500"}, true, stateWarning, "3 events wait, the oldest for 2h0m0s; the last attempt in vain: the shop answered 500"},
		"some given up":           {account.ReceiverState{Waiting: 1, Parked: 7, Oldest: now}, true, stateError, "7 events were given up after 72 hours, and 1 wait"},
		"of a webhook that went":  {account.ReceiverState{Waiting: 2, Parked: 1, Oldest: now}, false, stateWarning, "3 events wait for it"},
		"none of one that went":   {account.ReceiverState{}, false, "", ""},
		"nothing was said of why": {account.ReceiverState{Waiting: 1, Oldest: now.Add(-20 * time.Minute)}, true, stateWarning, "the oldest for 20m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.state.Receiver = receiver
			f, found := missing(tt.state, tt.configured, now)
			if found != (tt.want != "") || found && (f.State != tt.want || !strings.Contains(f.Text, tt.words) || f.Advice == "") {
				t.Errorf("found %t: %+v", found, f)
			}
		})
	}
}
