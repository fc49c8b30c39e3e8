package caddymodule

import (
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// openDatabases counts what the pool holds.
func openDatabases() (n int) {
	pool.Range(func(any, any) bool { n++; return true })
	return n
}

// TestConfigurationThatCannotWorkIsRefusedByOption loads configurations with
// one mistake each. Afterwards nothing is left open.
func TestConfigurationThatCannotWorkIsRefusedByOption(t *testing.T) {
	long := strings.Repeat("k", 32)
	t.Setenv("SHORT", "hush")
	account := "official_account wx1111111111111111 hush"
	site := func(lines string) string { return "wxgate {\nexternal_url http://127.0.0.1\n" + lines + "\n}" }
	tests := []struct{ name, app, site, want string }{
		{"secret too short", "secret {env.SHORT}", site(""), "wxgate: secret: number 1 has 4 bytes, at least 32 are needed"},
		{"secret from a variable that is not set", "secret {env.NOT_SET}", site(""), "wxgate: secret: evaluated placeholder {env.NOT_SET} is empty"},
		{"secret from an unknown placeholder", "secret {envv.SHORT}", site(""), "wxgate: secret: unrecognized placeholder {envv.SHORT}"},
		{"secret twice", "secret " + long + "\nsecret " + long, site(""), "wxgate: secret: number 2 is given twice"},
		{"AppSecret from a variable that is not set", "official_account wx1111111111111111 {env.NOT_SET}", site(""), "wxgate: official_account wx1111111111111111: evaluated placeholder {env.NOT_SET} is empty"},
		{"appid with a slash", "official_account wx/1 hush", site(""), `official_account: "wx/1" is not an appid`},
		{"half an appid", "official_account wx111 hush", site(""), `official_account: "wx111" is not an appid: wx and 16 letters or digits`},
		{"half an appid in a variable", "official_account {env.HALF} hush", site(""), `wxgate: official_account: "wx111" is not an appid`},
		{"one appid spelled in two ways", "official_account wx1111111111111111 a\nofficial_account {env.WX1} b", site(""), "wxgate: official_account wx1111111111111111 is given twice"},
		{"database in a directory that is not there", "database sqlite:/nonexistent/wxgate.db", site(""), "wxgate: database: opening database /nonexistent/wxgate.db: the directory /nonexistent does not exist"},
		{"database that is something else", "database sqlite:" + write(t, "junk", strings.Repeat("no database\n", 100)) + "/junk", site(""), "the file is not a SQLite database"},
		{"database of another kind in a variable", "database {env.SHORT}", site(""), "wxgate: database: opening database: the URL must begin with sqlite:, postgres:// or mysql://"},
		{"database server without a secret", "database postgres://wxgate:hush@127.0.0.1:1/wxgate", site(""), "wxgate: secret: a database server needs one, the same for all instances"},
		{"database URL that cannot be read", "secret " + long + "\ndatabase mysql://wxgate:hush@127.0.0.1:hush/wxgate", site(""), "wxgate: database: opening database: this is not a URL like mysql://user:password@host/database"},
		{"database without a name", "secret " + long + "\ndatabase postgres://wxgate:hush@127.0.0.1", site(""), "wxgate: database: opening database: this is not a URL like postgres://user:password@host/database"},
		{"database option", "secret " + long + "\ndatabase postgres://wxgate:hush@127.0.0.1:1/wxgate?sslmode=hush", site(""), "wxgate: database: opening database postgres://wxgate@127.0.0.1:1/wxgate: its options are not understood"},
		{"database server out of reach", "secret " + long + "\ndatabase mysql://wxgate:hush@127.0.0.1:1/wxgate", site(""), "wxgate: database: opening database mysql://wxgate@127.0.0.1:1/wxgate: the server cannot be reached"},
		{"first_login in a variable", "first_login {env.SHORT}", site(""), `wxgate: first_login: "hush" is none of: wechat, wechat_phone`},
		{"guests in a variable", "guests {env.SHORT}", site(""), `wxgate: guests: "hush" is none of: on, off`},
		{"linking in a variable", "linking {env.SHORT}", site(""), `wxgate: linking: "hush" is none of: one_to_one, many_unionids`},
		{"unionid in a variable", "official_account wx1111111111111111 hush {\nunionid {env.SHORT}\n}", site(""), `wxgate: official_account wx1111111111111111: unionid: "hush" is not none`},
		{"phone_idle", "phone_idle soon", site(""), `wxgate: phone_idle: "soon" is not a positive duration`},
		{"new_members URL", "new_members shop.internal {\nsecret " + hookSecret + "\n}", site(""), "wxgate: new_members: the URL is not one like https://"},
		{"new_members without a secret", "new_members https://shop.internal {\n}", site(""), "wxgate: new_members: secret is missing"},
		{"new_members secret", "new_members https://shop.internal {\nsecret {env.SHORT}\n}", site(""), "wxgate: new_members: secret number 1: it does not begin with whsec_"},
		{"webhook URL", "webhook {env.SHORT} {\nsecret " + hookSecret + "\n}", site(""), "wxgate: webhook number 1: the URL is not one like https://"},
		{"webhook without a secret", "webhook https://shop.internal/?key=hush {\n}", site(""), "wxgate: webhook number 1: secret is missing"},
		{"webhook twice", strings.Repeat("webhook https://shop.internal/?key=hush {\nsecret "+hookSecret+"\n}\n", 2), site(""), "wxgate: webhook https://shop.internal/ is given twice"},
		{"sandbox in a variable", "sandbox {env.SHORT}", site(""), `wxgate: sandbox: "hush" is none of: on, off`},
		{"user_ids start", "user_ids integer -1", site(""), `wxgate: user_ids: "-1" is not a positive number`},
		{"stale_for", "stale_for soon", site(""), `wxgate: stale_for: "soon" is not a positive duration`},
		{"mint_limit", "mint_limit many", site(""), `wxgate: mint_limit: "many" is not a positive number`},
		{"mint_limit window", "mint_limit 10 per 0s", site(""), `wxgate: mint_limit: "0s" is not a positive duration`},
		{"endpoint", "endpoints {\napi ftp://127.0.0.1\n}", site(""), "wxgate: endpoints: reading the api endpoint: scheme must be https or http"},
		{"proxy", "endpoints {\nproxy hush\n}", site(""), "wxgate: endpoints proxy is not a URL"},
		{"redis without a secret", "redis redis://:hush@127.0.0.1:1", site(""), "wxgate: secret: redis needs one, the same for all instances"},
		{"redis URL", "secret " + long + "\nredis redis://:hush@127.0.0.1:hush", site(""), "wxgate: redis: a host is not like 10.0.0.7:6379"},
		{"redis in a variable", "secret " + long + "\nredis {env.SHORT}", site(""), "wxgate: redis: a URL begins with redis://, rediss://, redis+sentinel:// or redis+cluster://"},
		{"redis in a variable that is not set", "secret " + long + "\nredis {env.NOWHERE}", site(""), "wxgate: redis: evaluated placeholder {env.NOWHERE} is empty"},

		{"external_url missing", "", "wxgate {\n}", "external_url is missing"},
		{"external_url with a path", "", "wxgate {\nexternal_url http://127.0.0.1/shop\n}", `external_url "http://127.0.0.1/shop" is not a scheme and a host`},
		{"external_url without a scheme", "", "wxgate {\nexternal_url shop.example.com\n}", `external_url "shop.example.com" is not a scheme and a host`},
		{"prefix", "", site("prefix wxgate"), `prefix "wxgate" is not a path`},
		{"header name", "", site(`header user_id "X User"`), `header: "X User" is not a header name`},
		{"header name of another meaning", "", site("header user_id Cookie"), "header: Cookie already means something else"},
		{"two headers of one name", "", site("header user_id X-A\nheader kind X_A"), "are the same name to a backend"},
		{"keep_headers of ours", "", site("keep_headers X-User-ID"), "keep_headers: X-User-ID is not among the headers that are removed"},
		{"path pattern", account, site("login /me*"), `login: "/me*": an asterisk stands only at the end`},
		{"HS256 without a key", "", site("assertion {\nalgorithm HS256\n}"), "assertion algorithm HS256: needs a key of at least 32 bytes, got 0"},
		{"HS256 with a short key", "", site("assertion {\nalgorithm HS256\nkey hush\n}"), "assertion algorithm HS256: needs a key of at least 32 bytes, got 4"},
		{"key with another algorithm", "", site("assertion {\nkey " + long + "\n}"), "assertion key: only HS256 has one"},
		{"ttl too long", "", site("assertion {\nttl 601s\n}"), "assertion ttl 10m1s: must be whole seconds from 1s to 10m0s"},
		{"algorithm in a variable", "", site("assertion {\nalgorithm {env.SHORT}\n}"), `assertion algorithm: "hush" is none of`},
		{"claim in a variable", "", site("assertion {\nclaims {env.SHORT}\n}"), `assertion claims: "hush" is none of: openid, unionid, phone`},
		{"cookie domain of another site", "", site("cookie {\ndomain example.com\n}"), "cookie domain example.com does not cover 127.0.0.1"},
		{"cookie max_age", "", site("cookie {\nmax_age 0s\n}"), `cookie max_age: "0s" is not a positive duration`},
		{"return_origins", "", site("return_origins www.example.com"), `return_origins: "www.example.com" is not an origin`},
		{"official_account that the App lacks", account, site("official_account wx2222222222222222"), "official_account wx2222222222222222: the global option wxgate has no such official_account"},
		{"several accounts without a choice", account + "\nofficial_account wx2222222222222222 hush", site(""), "official_account: the global option wxgate has several; name this site's"},
		{"login without an official account", "", site("login /me"), "login: nobody can log in, since the global option wxgate has no official_account, no website, no mini_program, no mobile_app and no sms"},
		{"pretended WeChat beside an external site", account + "\nendpoints {\napi http://127.0.0.1:9001\n}", "wxgate {\nexternal_url https://shop.example.com\n}",
			"endpoints: another WeChat than the real one, next to a site on https, needs `sandbox on`"},
	}
	t.Setenv("WX1", "wx1111111111111111")
	t.Setenv("HALF", "wx111")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := load(t, globals(t, tt.app)+"http://127.0.0.1:"+dbtest.Port(t)+" {\n"+tt.site+"\n}\n")
			switch {
			case err == nil:
				t.Fatal("loaded")
			case !strings.Contains(err.Error(), tt.want):
				t.Errorf("error %q does not say %q", err, tt.want)
			case strings.Contains(strings.Replace(err.Error(), tt.want, "", 1), "hush"):
				t.Errorf("error %q tells a secret", err)
			}
			if n := openDatabases(); n != 0 {
				t.Errorf("%d databases are left open", n)
			}
		})
	}
}

// TestEndpointsThatNeedNoSandbox: neither a proxy on the way to WeChat nor its
// own regional hosts let anybody in.
func TestEndpointsThatNeedNoSandbox(t *testing.T) {
	for name, tt := range map[string]struct{ app, external string }{
		"proxy":              {"endpoints {\nproxy http://10.0.0.5:3128\n}", "https://shop.example.com"},
		"regional host":      {"endpoints {\napi https://sh.api.weixin.qq.com\n}", "https://shop.example.com"},
		"sandbox on":         {"endpoints {\napi http://127.0.0.1:9001\n}\nsandbox on", "https://shop.example.com"},
		"site on plain http": {"endpoints {\napi http://127.0.0.1:9001\n}", "http://shop.example.com"},
		"site on localhost":  {"endpoints {\napi http://127.0.0.1:9001\n}", "https://localhost:8443"},
		"site on loopback":   {"endpoints {\napi http://127.0.0.1:9001\n}", "https://[::1]:8443"},
	} {
		t.Run(name, func(t *testing.T) {
			mustLoad(t, globals(t, tt.app)+"http://127.0.0.1:"+dbtest.Port(t)+" {\nwxgate {\nexternal_url "+tt.external+"\n}\n}\n")
		})
	}
}

// TestHostThatOnlyLooksLikeWeChatsNeedsTheSandbox guards the comparison.
func TestHostThatOnlyLooksLikeWeChatsNeedsTheSandbox(t *testing.T) {
	for _, api := range []string{"https://api.weixin.qq.com.example.com", "https://evilweixin.qq.com", "http://api.weixin.qq.com"} {
		err := load(t, globals(t, "endpoints {\napi "+api+"\n}")+"http://127.0.0.1:"+dbtest.Port(t)+" {\nwxgate {\nexternal_url https://shop.example.com\n}\n}\n")
		if err == nil || !strings.Contains(err.Error(), "needs `sandbox on`") {
			t.Errorf("%s: %v", api, err)
		}
	}
}

// TestWhatIsLeftOutIsSaidInTheLog: defaults and omissions that an operator may
// not have meant.
func TestWhatIsLeftOutIsSaidInTheLog(t *testing.T) {
	for name, tt := range map[string]struct{ app, site, want string }{
		"first_login":      {"", "wxgate {\nexternal_url http://127.0.0.1\n}", "first_login is wechat: no phone can be verified, since there is no sms and no mini_program"},
		"secret":           {"", "wxgate {\nexternal_url http://127.0.0.1\n}", "made a secret for sessions"},
		"official_account": {"", "wxgate {\nexternal_url http://127.0.0.1\n}", "has no official_account, no website, no mini_program, no mobile_app and no sms: visitors get guest ids, and nobody can log in"},
		"login":            {"official_account wx1111111111111111 hush", "wxgate {\nexternal_url http://127.0.0.1\n}", "the site has no login line"},
		"site":             {"official_account wx1111111111111111 hush", "respond hello", "no site has a wxgate block"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := dataDir(t)
			mustLoad(t, globals(t, tt.app)+"http://127.0.0.1:"+dbtest.Port(t)+" {\n"+tt.site+"\n}\n")
			raw, err := os.ReadFile(logFile(dir))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(raw), tt.want) {
				t.Errorf("the log does not say %q:\n%s", tt.want, raw)
			}
			if strings.Contains(string(raw), "hush") {
				t.Error("the log tells a secret")
			}
		})
	}
}

// TestUnreachableWeChatStopsNobody: only a wrong database keeps Caddy from
// starting.
func TestUnreachableWeChatStopsNobody(t *testing.T) {
	mustLoad(t, globals(t, "official_account wx1111111111111111 hush\nendpoints {\napi http://127.0.0.1:1\nopen http://127.0.0.1:1\n}")+
		"http://127.0.0.1:"+dbtest.Port(t)+" {\nwxgate {\nexternal_url http://127.0.0.1\nlogin /me\n}\n}\n")
	if caddy.ActiveContext().Context == nil {
		t.Error("nothing runs")
	}
}

// TestJSONWithUnknownFieldsIsRefused: what the parser refuses by name, the JSON
// refuses as Caddy does.
func TestJSONWithUnknownFieldsIsRefused(t *testing.T) {
	dataDir(t)
	for field, cfg := range map[string]string{
		"no_such_app":    `{"admin":{"disabled":true},"apps":{"wxgate":{"no_such_app":"wx1111111111111111"}}}`,
		"no_such_option": `{"admin":{"disabled":true},"apps":{"http":{"servers":{"a":{"routes":[{"handle":[{"handler":"wxgate","external_url":"http://127.0.0.1","no_such_option":{}}]}]}}}}}`,
	} {
		err := caddy.Load([]byte(cfg), true)
		if err == nil || !strings.Contains(err.Error(), `unknown field "`+field+`"`) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
