package caddymodule

import (
	"context"
	"fmt"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/webhook"
)

// rules is the account policy of this configuration.
func (a *App) rules() account.Rules {
	r := account.Rules{
		FirstLogin: account.FirstLogin(a.FirstLogin), Linking: account.Linking(a.Linking), GuestsOff: a.Guests == "off",
		PhoneIdle: a.idle, StandIns: a.standIns(),
	}
	if a.shop != nil {
		r.MakeUserID = func(ctx context.Context, n account.Newcomer) (string, error) {
			return a.shop.MakeUserID(ctx, webhook.NewMember{
				Key: n.Key, GuestID: n.GuestID, Phone: string(n.Phone), AppID: n.AppID, OpenID: n.OpenID, UnionID: n.UnionID,
			})
		}
	}
	return r
}

// newShop prepares to ask the shop for user ids, if it makes them.
func (a *App) newShop() (*webhook.Endpoint, error) {
	if a.NewMembers == nil {
		return nil, nil
	}
	e, err := newEndpoint(a.NewMembers.URL, a.NewMembers.Secrets)
	if err != nil {
		return nil, fmt.Errorf("wxgate: new_members: %w", err)
	}
	return e, nil
}

// newEndpoint prepares to call a URL of the shop.
func newEndpoint(url string, secrets []Secret) (*webhook.Endpoint, error) {
	cfg := webhook.Config{URL: url}
	for _, s := range secrets {
		cfg.Secrets = append(cfg.Secrets, string(s))
	}
	return webhook.New(cfg)
}
