package main

import (
	"encoding/json"
	"net/http"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// tap is what somebody does on his phone in an app. It is not ok where there is
// no such person or app.
type tap func(person, appID string) (answer any, ok bool)

// codeAnswer is what wx.login and its like answer.
type codeAnswer struct {
	ErrMsg string `json:"errMsg"`
	Code   string `json:"code"`
}

// newTaps returns what WeChat does on the phone for mini programs and mobile
// apps, for a program that plays one of them.
func newTaps(platform *wechattest.Server) http.Handler {
	mux := http.NewServeMux()
	for path, do := range map[string]tap{
		"/mini/wx/login": func(person, appID string) (any, bool) {
			code := platform.MiniLogin(person, appID)
			return codeAnswer{"login:ok", code}, code != ""
		},
		"/mini/wx/phone": func(person, appID string) (any, bool) {
			detail := platform.MiniPhone(person, appID)
			return detail, detail.ErrMsg != ""
		},
		"/mini/wx/profile": func(person, appID string) (any, bool) {
			profile := platform.MiniProfile(person, appID)
			return profile, profile.ErrMsg != ""
		},
		"/app/wx/code": func(person, appID string) (any, bool) {
			code := platform.AppCode(person, appID)
			return codeAnswer{"ok", code}, code != ""
		},
	} {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) { serveTap(w, r, platform, do) })
		mux.HandleFunc("OPTIONS "+path, func(w http.ResponseWriter, _ *http.Request) {
			anyOrigin(w.Header())
			w.WriteHeader(http.StatusNoContent)
		})
	}
	return mux
}

// serveTap answers with what a tap brings the person who is named, or else who
// holds the phone.
func serveTap(w http.ResponseWriter, r *http.Request, platform *wechattest.Server, do tap) {
	anyOrigin(w.Header())
	var in struct{ AppID, Person string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&in); err != nil {
		http.Error(w, "no JSON", http.StatusBadRequest)
		return
	}
	if in.Person == "" {
		in.Person = platform.Held()
	}
	answer, ok := do(in.Person, in.AppID)
	if !ok {
		http.Error(w, "no such person or app", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(answer)
}

// anyOrigin lets pages of other addresses of the sandbox play the phone.
func anyOrigin(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Headers", "Content-Type")
}
