package caddymodule

import (
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/assertion"
)

// keyRoutes are the routes of the keys that assertions are signed with.
func keyRoutes() []adminRoute {
	return []adminRoute{get("keys", serveKeys), post("keys/rotate", serveRotateKeys)}
}

type keysView struct {
	Keys []assertion.KeyState `json:"keys"`
}

func serveKeys(c *adminCall) error {
	view := keysView{Keys: []assertion.KeyState{}}
	for _, algorithm := range assertion.KeyAlgorithms() {
		if ring := c.app.rings[algorithm]; ring != nil {
			view.Keys = append(view.Keys, ring.Keys(time.Now())...)
		}
	}
	return c.answer(view)
}

// serveRotateKeys answers with the keys, after a dry run with those of before.
func serveRotateKeys(c *adminCall) error {
	var in reasoned
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.DryRun {
		return serveKeys(c)
	}
	if err := c.db.Record(c, in.by(), account.ActionRotateKeys); err != nil {
		return err
	}
	for _, ring := range c.app.rings {
		if err := ring.Rotate(c, time.Now()); err != nil {
			return err
		}
	}
	return serveKeys(c)
}
