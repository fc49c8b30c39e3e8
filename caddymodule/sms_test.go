package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/wxgate/wxgate/internal/dbtest"
	"github.com/wxgate/wxgate/internal/sms"
)

var codeMessage = sms.Message{Phone: "+8613812345678", Code: "042042", Purpose: "login", ExpiresIn: 5 * time.Minute, Locale: "en"}

// carrierOf loads a configuration and returns what its sites send codes with.
func carrierOf(t *testing.T, app string) sms.Sender {
	t.Helper()
	dataDir(t)
	mustLoad(t, globals(t, app)+"http://127.0.0.1:"+dbtest.Port(t)+" {\nwxgate {\nexternal_url http://127.0.0.1\n}\n}\n")
	loaded, err := caddy.ActiveContext().AppIfConfigured("wxgate")
	if err != nil {
		t.Fatal(err)
	}
	return loaded.(*App).carrier
}

func TestCarriersSendWithWhatIsConfigured(t *testing.T) {
	t.Setenv("SMS_KEY", "hush")
	var heard string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		heard = string(body) + r.Header.Get("Authorization") + r.Header.Get("X-TC-Region")
		_, _ = io.WriteString(w, `{"Code":"OK","Response":{"SendStatusSet":[{"Code":"Ok"}]}}`)
	}))
	t.Cleanup(server.Close)
	for app, want := range map[string][]string{
		"sms aliyun {\naccess_key_id id7\naccess_key_secret {env.SMS_KEY}\nsign_name shop7\ntemplate SMS_7\ncode_param number\nregion ap-7\nendpoint " + server.URL + "\n}": {
			"AccessKeyId=id7", "SignName=shop7", "TemplateCode=SMS_7", "number%22%3A%22042042", "RegionId=ap-7", "PhoneNumbers=13812345678",
		},
		"sms tencent {\nsecret_id id7\nsecret_key {env.SMS_KEY}\nsdk_app_id 1400\nsign_name shop7\ntemplate 77\nparams minutes code\nregion ap-7\nendpoint " + server.URL + "\n}": {
			"Credential=id7/", `"SignName":"shop7"`, `"TemplateId":"77"`, `["5","042042"]`, `"SmsSdkAppId":"1400"`, "ap-7", "+8613812345678",
		},
	} {
		if err := carrierOf(t, app).Send(t.Context(), codeMessage); err != nil {
			t.Errorf("%s: %v", app, err)
		}
		for _, text := range want {
			if !strings.Contains(heard, text) {
				t.Errorf("%s: %q is not in %s", app, text, heard)
			}
		}
	}
}

func TestShopSendsCodes(t *testing.T) {
	status := http.StatusAccepted
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hook, err := standardwebhooks.NewWebhook(hookSecret)
		body, readErr := io.ReadAll(r.Body)
		if err = errors.Join(err, readErr, hook.Verify(body, r.Header)); err != nil {
			t.Error(err)
		}
		if want := `{"phone":"+8613812345678","code":"042042","purpose":"login","expires_in":300,"locale":"en"}`; string(body) != want {
			t.Errorf("the shop hears %s", body)
		}
		w.WriteHeader(status)
	}))
	carrier := carrierOf(t, "sms webhook "+server.URL+" {\nsecret "+hookSecret+"\n}")
	if err := carrier.Send(t.Context(), codeMessage); err != nil {
		t.Error(err)
	}
	failsFor := func(want sms.Reason) {
		t.Helper()
		var e *sms.Error
		if err := carrier.Send(t.Context(), codeMessage); !errors.As(err, &e) || e.Reason != want || strings.Contains(err.Error(), "138") {
			t.Errorf("%v, want the reason %s", err, want)
		}
	}
	for answer, reason := range map[int]sms.Reason{
		http.StatusForbidden: sms.ReasonConfig, http.StatusTooManyRequests: sms.ReasonBusy, http.StatusBadGateway: sms.ReasonBusy,
	} {
		status = answer
		failsFor(reason)
		if said := carrier.Send(t.Context(), codeMessage).Error(); !strings.Contains(said, fmt.Sprintf("webhook refused a message: status %d", answer)) {
			t.Errorf("the log says %q", said)
		}
	}
	server.Close() // nobody is there, so nothing was sent
	failsFor(sms.ReasonBusy)

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	carrier = carrierOf(t, "sms webhook http://"+silent.Addr().String()+" {\nsecret "+hookSecret+"\n}")
	failsFor(sms.ReasonUnsure) // it may have been sent
}

func TestCarrierThatCannotWorkIsRefusedByOption(t *testing.T) {
	t.Setenv("SHORT", "hush")
	const aliyun = "sms aliyun {\naccess_key_id id\naccess_key_secret hush\nsign_name shop\n"
	site := "wxgate {\nexternal_url http://127.0.0.1\n}"
	for name, tt := range map[string]struct{ app, site, want string }{
		"aliyun without a template": {aliyun + "}", site, "access_key_id, access_key_secret, sign_name and template are needed"},
		"aliyun's endpoint":         {aliyun + "template SMS_1\nendpoint sms.example.com\n}", site, "endpoint is not a URL"},
		"aliyun from a variable":    {"sms aliyun {\naccess_key_secret {env.NOT_SET}\n}", site, "access_key_secret: evaluated placeholder {env.NOT_SET} is empty"},
		"tencent without anything":  {"sms tencent {\nsecret_key hush\n}", site, "secret_id, secret_key, sdk_app_id, sign_name and template are needed"},
		"webhook's URL":             {"sms webhook shop.internal {\nsecret " + hookSecret + "\n}", site, "the URL is not one like https://"},
		"webhook's secret":          {"sms webhook https://shop.internal {\nsecret {env.SHORT}\n}", site, "secret number 1: it does not begin with whsec_"},
		"budget":                    {"sms log\nsms_budget many", site, `wxgate: sms_budget: "many" is not a positive number`},
		"a country":                 {"sms log\nsms_countries 86 +852", site, `wxgate: sms_countries: "+852" is neither all nor a country calling code like 86`},
		"a country that is none":    {"sms log\nsms_countries 999", site, `wxgate: sms_countries: "999" is neither all`},
		"countries of nothing":      {"sms_countries 86", site, "wxgate: sms_countries: there is no sms"},
		"budget of nothing":         {"sms_budget 5", site, "wxgate: sms_budget: there is no sms"},
		"wechat_phone without sms":  {"first_login wechat_phone", site, "wxgate: first_login: wechat_phone needs sms"},
		"phone line without sms": {"official_account wx1111111111111111 hush", "wxgate {\nexternal_url http://127.0.0.1\nphone /pay\n}",
			"phone: no phone can be verified, since the global option wxgate has no sms"},
		"log beside an external site": {"official_account wx1111111111111111 hush\nsms log", "wxgate {\nexternal_url https://shop.example.com\n}",
			"sms log: next to a site on https it needs `sandbox on`"},
	} {
		t.Run(name, func(t *testing.T) {
			err := load(t, globals(t, tt.app)+"http://127.0.0.1:"+dbtest.Port(t)+" {\n"+tt.site+"\n}\n")
			switch {
			case err == nil:
				t.Fatal("loaded")
			case !strings.Contains(err.Error(), tt.want):
				t.Errorf("error %q does not say %q", err, tt.want)
			case strings.Contains(err.Error(), "hush"):
				t.Errorf("error %q tells a secret", err)
			}
			if n := openDatabases(); n != 0 {
				t.Errorf("%d databases are left open", n)
			}
		})
	}
}

// TestLogMayStandInForACarrier where nobody but the developer reads it.
func TestLogMayStandInForACarrier(t *testing.T) {
	for _, app := range []struct{ lines, external string }{
		{"sms log", "http://127.0.0.1"}, {"sms log", "https://localhost:8443"}, {"sms log\nsandbox on", "https://shop.example.com"},
	} {
		dataDir(t)
		mustLoad(t, globals(t, app.lines)+"http://127.0.0.1:"+dbtest.Port(t)+" {\nwxgate {\nexternal_url "+app.external+"\n}\n}\n")
	}
}

func TestFirstLoginNeedsAPhoneWhereOneCanBeVerified(t *testing.T) {
	for app, want := range map[string]string{"sms log": "wechat_phone", "": "wechat", "sms log\nfirst_login wechat": "wechat"} {
		carrierOf(t, app)
		loaded, err := caddy.ActiveContext().AppIfConfigured("wxgate")
		if err != nil {
			t.Fatal(err)
		}
		if got := loaded.(*App).rules().FirstLogin; string(got) != want {
			t.Errorf("%q: first_login is %s, want %s", app, got, want)
		}
	}
}

// smsEffects are those of the options about codes and phones.
func smsEffects() []effect {
	return []effect{
		{name: "sms", app: "sms log", see: func(rg *rig) string {
			return fmt.Sprint("said in the log: ", strings.Contains(rg.log(), "first_login is wechat_phone: phones can be verified, by sms"))
		}, want: "said in the log: true"},
		{name: "sms_budget", app: "sms log\nsms_budget 7", without: "sms log", see: func(*rig) string {
			loaded, err := caddy.ActiveContext().AppIfConfigured("wxgate")
			return fmt.Sprint(loaded.(*App).budget, err)
		}, want: "7 <nil>"},
		{name: "sms_countries", app: "sms log\nsms_countries 86 44", without: "sms log", see: seeCodeTo("+447400123456"), want: "202"},
		{name: "sms_countries all", app: "sms log\nsms_countries all", without: "sms log", see: seeCodeTo("+85291234567"), want: "202"},
		{name: "phone", app: "sms log", site: "phone /goods", see: seeStatus("/goods"), want: "401 login_required"},
	}
}

// seeCodeTo is the answer to a visitor who asks for a code.
func seeCodeTo(phone string) func(*rig) string {
	return func(rg *rig) string {
		d := rg.elsewhere()
		d.get("/goods")
		return fmt.Sprint(d.askForCode(phone).StatusCode)
	}
}

// seePhoneClaim is the phone that the shop is told of a member who has just
// proved it, by a code that stands in the log.
func seePhoneClaim(rg *rig) string {
	d := rg.elsewhere()
	d.get("/goods")
	d.askForCode("13800138001")
	m := regexp.MustCompile(`"code": ?"(\d{6})"`).FindStringSubmatch(rg.log())
	if m == nil {
		return "no code in the log"
	}
	d.fetch(http.MethodPost, "/wxgate/phone", func(r *http.Request) {
		body := `{"phone":"13800138001","code":"` + m[1] + `"}`
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Type", "application/json")
	})
	d.get("/goods")
	all := rg.shop.reached()
	rg.last = all[len(all)-1]
	claims := map[string]any{}
	rg.decode(1, &claims)
	return fmt.Sprint(claims["phone"])
}
