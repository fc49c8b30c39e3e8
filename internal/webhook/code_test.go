package webhook

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

var code = Code{Phone: "+8613812345678", Code: "042042", Purpose: "login", ExpiresIn: 300, Locale: "zh-Hans"}

func TestCodeIsHandedOverAsTheContractSays(t *testing.T) {
	var bodies, ids []string
	s := newShop(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		wh, err := standardwebhooks.NewWebhook(secret)
		if err = errors.Join(err, wh.Verify(body, r.Header)); err != nil {
			t.Error(err)
		}
		bodies, ids = append(bodies, string(body)), append(ids, r.Header.Get("webhook-id"))
		w.WriteHeader(http.StatusAccepted)
	})
	e := s.endpoint(t)
	for range 2 {
		if err := e.SendCode(t.Context(), code); err != nil {
			t.Fatal(err)
		}
	}
	const want = `{"phone":"+8613812345678","code":"042042","purpose":"login","expires_in":300,"locale":"zh-Hans"}`
	if diff := cmp.Diff([]string{want, want}, bodies); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if ids[0] == ids[1] || ids[0] == "" {
		t.Errorf("two messages have the ids %q", ids)
	}
}

func TestShopThatDoesNotSendACodeIsToldFromOneThatIsSilent(t *testing.T) {
	for _, status := range []int{400, 429, 500, 302} {
		var refused *StatusError
		if err := says(t, status, "+8613812345678").endpoint(t).SendCode(t.Context(), code); !errors.As(err, &refused) || refused.Status != status {
			t.Errorf("%d: %v", status, err)
		}
	}
	silent := newShop(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
		}
	})
	var refused *StatusError
	if err := silent.endpoint(t).SendCode(t.Context(), code); errors.As(err, &refused) || !errors.Is(err, io.EOF) {
		t.Errorf("silence: %v", err)
	}
}
