package shop_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/wxgate/wxgate/cmd/wxgate-sandbox/shop"
)

// tell posts an event, signed with a secret.
func tell(t *testing.T, s *shop.Shop, secret, body string) int {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signature, err := hook.Sign("event_1", now, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/hooks/wxgate", strings.NewReader(body))
	r.Header.Set(standardwebhooks.HeaderWebhookID, "event_1")
	r.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	r.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code
}

func TestMergeMovesTheOrdersOfAllOldIDs(t *testing.T) {
	const secret = "whsec_ZGVtbyBzaG9wIGRlbW8gc2hvcCBkZW1vIHNob3AhIQ=="
	const forged = "whsec_Zm9yZ2VkIGZvcmdlZCBmb3JnZWQgZm9yZ2VkIGZvcmc="
	data := `"data":{"from":"g2","to":"m1","aliases":["g1","g2"]}}`
	for name, c := range map[string]struct {
		secret, body string
		code, orders int
	}{
		"a merge":         {secret, `{"type":"wxgate.user.merged",` + data, http.StatusNoContent, 2},
		"a settled one":   {secret, `{"type":"wxgate.user.merge_settled",` + data, http.StatusNoContent, 2},
		"another event":   {secret, `{"type":"wxgate.user.created",` + data, http.StatusNoContent, 0},
		"somebody else":   {forged, `{"type":"wxgate.user.merged",` + data, http.StatusUnauthorized, 0},
		"what is no JSON": {secret, `merged`, http.StatusBadRequest, 0},
	} {
		s := shop.New()
		order(t, s, "g1", "tea", "")
		order(t, s, "g2", "rice", "")
		for range 2 { // an event may come twice
			if code := tell(t, s, c.secret, c.body); code != c.code {
				t.Errorf("%s: %d, want %d", name, code, c.code)
			}
		}
		if got := s.Orders("m1"); len(got) != c.orders {
			t.Errorf("%s: the member has %d orders, want %d", name, len(got), c.orders)
		}
	}
}
