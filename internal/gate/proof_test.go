package gate

import (
	"net/http"
	"strings"
	"testing"
)

// WeChat fetches the file without a session, and follows no redirect to a login.
func TestVerificationFileIsServedBeforeAnyGate(t *testing.T) {
	const name, content = "MP_verify_0123456789abcdef.txt", "0123456789abcdef"
	rg := newRig(t, func(c *Config) {
		c.VerificationFiles = map[string][]byte{name: []byte(content)}
		c.Rules = append(c.Rules, Rule{Level: Login, Paths: []string{"/*"}})
	})
	for _, ua := range []string{uaWeChat, uaDesktop, "Mozilla/4.0", ""} {
		b := rg.browser(ua)
		got := b.stay("/" + name)
		if got.StatusCode != http.StatusOK || got.body != content || got.Header.Get("Content-Type") != "text/plain; charset=utf-8" || len(got.Cookies()) != 0 {
			t.Errorf("%q: %d %v %q", ua, got.StatusCode, got.Header, got.body)
		}
		if head := b.fetch(http.MethodHead, "/"+name); head.StatusCode != http.StatusOK || head.ContentLength != int64(len(content)) || head.body != "" {
			t.Errorf("HEAD: %d, %d bytes", head.StatusCode, head.ContentLength)
		}
	}
	for _, path := range []string{"/x/" + name, "/" + strings.ToLower(name), "/" + name + "/", "/MP_verify_fedcba9876543210.txt", "/wxgate/" + name} {
		if got := rg.browser(uaDesktop).fetch(http.MethodGet, path); strings.Contains(got.body, content) {
			t.Errorf("%s: %d %s", path, got.StatusCode, got.body)
		}
	}
	if got := rg.browser(uaDesktop).fetch(http.MethodPost, "/"+name); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("POST: %d %s", got.StatusCode, got.body)
	}
	if rg.reached() != 0 {
		t.Error("the shop was reached")
	}
}

func TestFileThatIsNoDomainProofIsRefused(t *testing.T) {
	for name, content := range map[string]string{
		"index.html": "x", "a/b.txt": "x", ".txt": "x", "a.txt": "", "b.txt": strings.Repeat("x", maxProof+1),
	} {
		_, err := New(Config{ExternalURL: "https://shop.test", VerificationFiles: map[string][]byte{name: []byte(content)}}, Deps{Signer: testSigner(t)})
		if err == nil || !strings.HasPrefix(err.Error(), "verification_file: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
