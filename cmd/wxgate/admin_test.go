package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// badRequest is a request that an admin route does not take, with the answer.
type badRequest struct {
	method, path, contentType, body string
	status                          int
	code                            string
}

func badRequests() map[string]badRequest {
	const find, show = "/wxgate/users/find", "/wxgate/users/show"
	return map[string]badRequest{
		"a route there is not":        {"GET", "/wxgate/nonsense", "", "", 404, "not_found"},
		"the root":                    {"GET", "/wxgate/", "", "", 404, "not_found"},
		"another method":              {"GET", find, "", "", 405, "method_not_allowed"},
		"a change by GET":             {"GET", "/wxgate/users/merge", "", "", 405, "method_not_allowed"},
		"a list by POST":              {"POST", "/wxgate/events", "application/json", "{}", 405, "method_not_allowed"},
		"a body without its type":     {"POST", find, "", `{"term":"x"}`, 415, "unsupported_media_type"},
		"a form":                      {"POST", find, "application/x-www-form-urlencoded", "term=x", 415, "unsupported_media_type"},
		"no JSON":                     {"POST", find, "application/json", "term=x", 400, "malformed"},
		"two objects":                 {"POST", find, "application/json", `{"term":"x"} {}`, 400, "malformed"},
		"a member nobody knows":       {"POST", find, "application/json", `{"term":"x","phone":"1"}`, 400, "malformed"},
		"a body without end":          {"POST", find, "application/json", `{"term":"` + strings.Repeat("x", 1<<20) + `"}`, 400, "malformed"},
		"a NUL character":             {"POST", find, "application/json", `{"term":"a\u0000b"}`, 400, "malformed"},
		"nothing to find":             {"POST", find, "application/json; charset=utf-8", `{}`, 400, "malformed"},
		"an unknown person":           {"POST", show, "application/json", `{"user_id":"4711"}`, 404, "unknown_user"},
		"no WeChat account to unbind": {"POST", "/wxgate/users/unbind", "application/json", `{"user_id":"1","reason":"x"}`, 400, "malformed"},
		"nobody to cancel":            {"POST", "/wxgate/users/cancel", "application/json", `{"reason":"x"}`, 400, "malformed"},
		"an openid without its app":   {"POST", "/wxgate/users/cancel", "application/json", `{"openid":"o","reason":"x"}`, 400, "malformed"},
		"an unknown conflict":         {"POST", "/wxgate/conflicts/close", "application/json", `{"id":"x","reason":"x"}`, 404, "unknown_conflict"},
		"no reason":                   {"POST", "/wxgate/users/cancel", "application/json", `{"user_id":"x"}`, 422, "no_reason"},
		"a position that is none":     {"GET", "/wxgate/events?after=x", "", "", 400, "malformed"},
		"too many at once":            {"GET", "/wxgate/events?limit=1001", "", "", 400, "malformed"},
		"failures of no webhook":      {"GET", "/wxgate/events/failed", "", "", 404, "unknown_webhook"},
		"a replay to no webhook":      {"POST", "/wxgate/events/replay", "application/json", `{"reason":"x"}`, 404, "unknown_webhook"},
		"a replay from nowhere":       {"POST", "/wxgate/events/replay", "application/json", `{"after":-1,"reason":"x"}`, 400, "malformed"},
		"a dry run of a replay":       {"POST", "/wxgate/events/replay", "application/json", `{"dry_run":true}`, 400, "malformed"},
		"too many operations":         {"POST", "/wxgate/operations/list", "application/json", `{"limit":1001}`, 400, "malformed"},
		"a map to nowhere":            {"POST", "/wxgate/apps/map-openids", "application/json", `{"old_appid":"x"}`, 400, "malformed"},
		"a dry run of what has none":  {"POST", "/wxgate/users/revoke", "application/json", `{"user_id":"1","dry_run":true}`, 400, "malformed"},
		"a dry run of an export":      {"POST", "/wxgate/export", "application/json", `{"format":"csv","dry_run":true}`, 400, "malformed"},
		"an import that is no form":   {"POST", "/wxgate/import", "text/csv", "user_id\n1\n", 415, "unsupported_media_type"},
		"a form of another kind":      {"POST", "/wxgate/import", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n--b--", 400, "malformed"},
		"a form that breaks off":      {"POST", "/wxgate/import", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"options\"\r\n\r\n{}\r\n", 400, "malformed"},
		"an unknown option":           {"POST", "/wxgate/import", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"options\"\r\n\r\n{\"x\":1}\r\n--b--", 400, "malformed"},
		"an import without a reason":  {"POST", "/wxgate/import", "multipart/form-data; boundary=b", importForm("{}"), 422, "no_reason"},
		"an export as it is not":      {"POST", "/wxgate/export", "application/json", `{"format":"xml","reason":"x"}`, 400, "malformed"},
		"an export without a reason":  {"POST", "/wxgate/export", "application/json", `{"format":"csv"}`, 422, "no_reason"},
		"a repair without a reason":   {"POST", "/wxgate/repair", "application/json", `{"appid":"` + shopApp + `"}`, 422, "no_reason"},
		"a repair of nothing":         {"POST", "/wxgate/repair", "application/json", `{"appid":"wx0","dry_run":true}`, 404, "unknown_app"},
		"a repair in a hurry":         {"POST", "/wxgate/repair", "application/json", `{"appid":"` + shopApp + `","rate":51,"dry_run":true}`, 400, "malformed"},
		"no app to rebind":            {"POST", "/wxgate/apps/rebind", "application/json", `{"reason":"x"}`, 400, "malformed"},
	}
}

// TestAdminRoutesRefuseWhatTheyDoNotTake, each with a problem document whose
// code a program can go by.
func TestAdminRoutesRefuseWhatTheyDoNotTake(t *testing.T) {
	g := newGateway(t, "", nil)
	for name, tt := range badRequests() {
		t.Run(name, func(t *testing.T) {
			status, header, body := g.ask(tt.method, tt.path, tt.contentType, tt.body)
			var p struct {
				Type, Code, Detail string
				Status             int
			}
			if err := json.Unmarshal([]byte(body), &p); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if status != tt.status || p.Status != tt.status || p.Code != tt.code || p.Type != "urn:wxgate:problem:"+tt.code || p.Detail == "" {
				t.Errorf("answered %d %s", status, body)
			}
			if got := header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("Content-Type %s", got)
			}
			if status == http.StatusMethodNotAllowed && header.Get("Allow") == "" {
				t.Error("the answer does not say what is allowed")
			}
		})
	}
}

// importForm is the body of an import of an empty file.
func importForm(options string) string {
	const part = "--b\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n"
	return fmt.Sprintf(part+part+"--b--\r\n", "options", options, "file", "user_id")
}
