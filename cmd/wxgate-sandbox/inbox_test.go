package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// text sends a code as the gateway does and returns the status.
func (d desk) text(t *testing.T, secret, body string) int {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signature, err := hook.Sign("sms_1", now, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/sms", strings.NewReader(body))
	r.Header.Set(standardwebhooks.HeaderWebhookID, "sms_1")
	r.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	r.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w.Code
}

func TestCodesCanBeReadOnThePage(t *testing.T) {
	d := newDesk()
	for i := range keptMessages + 1 {
		body := fmt.Sprintf(`{"phone":"+86138123456%02d","code":"%06d","purpose":"login"}`, i, i)
		if code := d.text(t, smsSecret, body); code != http.StatusNoContent {
			t.Fatalf("status %d", code)
		}
	}
	page := d.page()
	if !strings.Contains(page, "8613812345610</td><td><strong>000010<") {
		t.Error("the newest code is not on the page")
	}
	if strings.Index(page, "<strong>000010") > strings.Index(page, "<strong>000009") || strings.Contains(page, "<strong>000000") {
		t.Error("the newest does not come first, or too many are kept")
	}
}

func TestOnlyTheGatewaySendsCodes(t *testing.T) {
	d := newDesk()
	if code := d.text(t, "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", `{"phone":"+8613812345678","code":"042042"}`); code != http.StatusUnauthorized {
		t.Errorf("another secret: status %d", code)
	}
	if code := d.text(t, smsSecret, `{"phone":""}`); code != http.StatusBadRequest {
		t.Errorf("no phone: status %d", code)
	}
	if strings.Contains(d.page(), "042042") {
		t.Error("the code is on the page")
	}
}
