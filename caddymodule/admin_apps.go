package caddymodule

import (
	"net/http"

	"github.com/wxgate/wxgate/internal/account"
)

// appRoutes are the routes for what happens to a whole app.
func appRoutes() []adminRoute {
	return []adminRoute{
		// It goes through all rows of an app, in many small steps.
		{method: http.MethodPost, path: "apps/rebind", accepts: []string{typeJSON}, long: true, serve: serveRebind},
		post("apps/map-openids", serveMapOpenIDs),
	}
}

type rebindRequest struct {
	AppID string `json:"appid"`
	reasoned
}

func serveRebind(c *adminCall) error {
	var in rebindRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.AppID == "" {
		return malformed("appid is empty")
	}
	report, err := c.db.Rebind(c, account.Rebinding{AppID: in.AppID, DryRun: in.DryRun, By: in.by()})
	if err != nil {
		return err
	}
	return c.answer(report)
}

// mapRequest is a part of an openid map: pairs of an old and a new openid.
type mapRequest struct {
	OldAppID  string      `json:"old_appid"`
	NewAppID  string      `json:"new_appid"`
	Moves     [][2]string `json:"moves"`
	RetireOld bool        `json:"retire_old,omitempty"`
	reasoned
}

func serveMapOpenIDs(c *adminCall) error {
	var in mapRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.OldAppID == "" || in.NewAppID == "" {
		return malformed("old_appid and new_appid are needed")
	}
	m := account.OpenIDMap{RetireOld: in.RetireOld, DryRun: in.DryRun, By: in.by()}
	for _, move := range in.Moves {
		m.Moves = append(m.Moves, account.OpenIDMove{
			OldAppID: in.OldAppID, OldOpenID: move[0], NewAppID: in.NewAppID, NewOpenID: move[1],
		})
	}
	report, err := c.db.MapOpenIDs(c, m)
	if err != nil {
		return err
	}
	return c.answer(report)
}
