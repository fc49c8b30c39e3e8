package gate

import (
	"strings"
	"testing"
)

func TestCallbackHostThatCannotWorkIsRefused(t *testing.T) {
	rg := newRelayRig(t)
	shop := rg.more["shop.test"]
	change := func(o option) *Site {
		cfg := rg.more["login.test"].cfg
		o(&cfg)
		s, err := New(cfg, shop.Deps)
		must(t, err)
		return s
	}
	for want, sites := range map[string][]*Site{
		"":                                    {shop, rg.more["login.test"]},
		"no site of this configuration":       {shop},
		"has a callback_host itself":          {shop, change(func(c *Config) { c.CallbackHost = "http://third.test" })},
		"does not list http://shop.test":      {shop, change(func(c *Config) { c.ReturnOrigins = []string{"http://www.shop.test"} })},
		"another prefix":                      {shop, change(func(c *Config) { c.Prefix = "/gate" })},
		"another official_account or website": {shop, change(func(c *Config) { c.OfficialAccount.AppID = "wx9" })},
	} {
		err := shop.CheckCallbackHost(sites)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	for host, want := range map[string]string{
		"https://www.shop.test": "this site itself", "http://login.test": "not on https", "login.test": "not an origin", "https://login.test/x": "not an origin",
	} {
		_, err := New(Config{ExternalURL: "https://www.shop.test", CallbackHost: host}, Deps{Signer: testSigner(t)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", host, err)
		}
	}
}
