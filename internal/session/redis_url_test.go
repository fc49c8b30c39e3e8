package session

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRedisURLs(t *testing.T) {
	type opts struct {
		Addrs                                                  []string
		DB                                                     int
		User, Password, Master, SentinelUser, SentinelPassword string
		TLS, Cluster                                           bool
	}
	for url, want := range map[string]opts{
		"redis://127.0.0.1":                            {Addrs: []string{"127.0.0.1:6379"}},
		"redis://cache.internal:6380/3":                {Addrs: []string{"cache.internal:6380"}, DB: 3},
		"redis://[::1]:6380":                           {Addrs: []string{"[::1]:6380"}},
		"redis://:p%40ss%2Fw@h":                        {Addrs: []string{"h:6379"}, Password: "p@ss/w"},
		"rediss://u:p@h/":                              {Addrs: []string{"h:6379"}, User: "u", Password: "p", TLS: true},
		"redis+sentinel://a,b:26380/shop":              {Addrs: []string{"a:26379", "b:26380"}, Master: "shop"},
		"redis+sentinel://u:p@a/shop/2":                {Addrs: []string{"a:26379"}, User: "u", Password: "p", Master: "shop", DB: 2},
		"rediss+sentinel://a/m?sentinel_password=s%26": {Addrs: []string{"a:26379"}, Master: "m", SentinelPassword: "s&", TLS: true},
		"redis+sentinel://a/m?sentinel_username=x&sentinel_password=y": {
			Addrs: []string{"a:26379"}, Master: "m", SentinelUser: "x", SentinelPassword: "y"},
		"redis+cluster://a":               {Addrs: []string{"a:6379"}, Cluster: true},
		"rediss+cluster://:p@a:1,[::2]:3": {Addrs: []string{"a:1", "[::2]:3"}, Password: "p", TLS: true, Cluster: true},
	} {
		o, err := parseRedisURL(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		got := opts{o.Addrs, o.DB, o.Username, o.Password, o.MasterName, o.SentinelUsername, o.SentinelPassword, o.TLSConfig != nil, o.IsClusterMode}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", url, diff)
		}
	}
}

func TestWrongRedisURLsAreRefusedWithoutShowingThem(t *testing.T) {
	for url, want := range map[string]string{
		"":                                 "begins with",
		"hush":                             "begins with",
		"http://hush":                      "begins with",
		"redis+://hush":                    "begins with",
		"redis+hush://a":                   "of kinds there are",
		"redis://":                         "a host is not like",
		"redis://hush@a":                   "the password is missing",
		"redis://:hu%zzsh@a":               "percent-encoded",
		"redis://:hu@sh@a":                 "percent-encoded",
		"redis://:hush/x@a":                "percent-encoded",
		"redis://a,hush":                   "several hosts",
		"redis://a:hush":                   "a host is not like",
		"redis://a:0":                      "a port",
		"redis://a:65536":                  "a port",
		"redis://a:":                       "a host is not like",
		"redis://a/hush":                   "number of a database",
		"redis://a/-1":                     "number of a database",
		"redis://a?db=hush":                `unknown parameter "db"`,
		"redis://a?sentinel_password=hush": `unknown parameter "sentinel_password"`,
		"redis://a?%zz":                    "question mark",
		"redis+sentinel://a":               "name of the master",
		"redis+sentinel://a/":              "name of the master",
		"redis+sentinel://a/m/hush":        "number of a database",
		"redis+sentinel://a/m?sentinel_password=hush&sentinel_password=y": "is repeated",
		"redis+cluster://a/0":  "no number",
		"redis+cluster://a,,b": "a host is not like",
	} {
		_, err := OpenRedis(url)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}
