package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tap posts what a program that plays the phone sends and returns the answer's
// status and the names of its fields.
func (d desk) tap(t *testing.T, path, body string) (status int, answer map[string]any) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", "http://localhost:8081")
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	if got := w.Header().Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("%s: Access-Control-Allow-Origin %q: no page could play the phone", path, got)
	}
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%s: answer %q: %v", path, w.Body, err)
		}
	}
	return w.Code, answer
}

func TestPhoneOfMiniProgramsAndApps(t *testing.T) {
	for name, c := range map[string]struct {
		path, body string
		status     int
		errMsg     string
		has        []string
	}{
		"login":                  {"/mini/wx/login", `{"appid":"` + miniID + `"}`, 200, "login:ok", []string{"code"}},
		"login of somebody":      {"/mini/wx/login", `{"appid":"` + miniID + `","person":"han"}`, 200, "login:ok", []string{"code"}},
		"phone":                  {"/mini/wx/phone", `{"appid":"` + miniID + `"}`, 200, "getPhoneNumber:ok", []string{"code", "encryptedData", "iv"}},
		"phone refused":          {"/mini/wx/phone", `{"appid":"` + miniID + `","person":"zhao"}`, 200, "getPhoneNumber:fail user deny", nil},
		"profile":                {"/mini/wx/profile", `{"appid":"` + miniID + `"}`, 200, "getUserProfile:ok", []string{"rawData", "signature", "encryptedData", "iv"}},
		"app":                    {"/app/wx/code", `{"appid":"` + mobileID + `"}`, 200, "ok", []string{"code"}},
		"nobody":                 {"/mini/wx/login", `{"appid":"` + miniID + `","person":"nobody"}`, 404, "", nil},
		"no mini program":        {"/mini/wx/login", `{"appid":"` + appID + `"}`, 404, "", nil},
		"no mini program: phone": {"/mini/wx/phone", `{"appid":"` + appID + `"}`, 404, "", nil},
		"no mobile app":          {"/app/wx/code", `{"appid":"` + miniID + `"}`, 404, "", nil},
		"no JSON":                {"/mini/wx/login", `appid=1`, 400, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := newDesk().tap(t, c.path, c.body)
			if status != c.status {
				t.Fatalf("status %d, want %d", status, c.status)
			}
			if c.status == 200 && answer["errMsg"] != c.errMsg {
				t.Errorf("errMsg %q, want %q", answer["errMsg"], c.errMsg)
			}
			for _, field := range c.has {
				if answer[field] == nil || answer[field] == "" {
					t.Errorf("%s is missing in %v", field, answer)
				}
			}
		})
	}
}

func TestPagesOfOtherAddressesMayPlayThePhone(t *testing.T) {
	r := httptest.NewRequest(http.MethodOptions, "/mini/wx/login", nil)
	w := httptest.NewRecorder()
	newDesk().handler.ServeHTTP(w, r)
	got := []string{w.Header().Get("Access-Control-Allow-Origin"), w.Header().Get("Access-Control-Allow-Headers")}
	if diff := cmp.Diff([]string{"*", "Content-Type"}, got); diff != "" || w.Code != http.StatusNoContent {
		t.Errorf("status %d, headers (-want +got):\n%s", w.Code, diff)
	}
}
