package shop_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/cmd/wxgate-sandbox/shop"
)

// call is what a mini program sends, as it leaves the gateway.
func call(s *shop.Shop, method, path, body, id string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if id != "" {
		r.Header.Set("X-User-ID", id)
		r.Header.Set("X-User-Kind", "guest")
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// answer reads the JSON of an answer, leaving out when something happened.
func answer(t *testing.T, w *httptest.ResponseRecorder) any {
	t.Helper()
	if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || got != "application/json" {
		t.Fatalf("answer %d %s: %s", w.Code, got, w.Body)
	}
	var v any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestMiniProgramFillsTheCartAndOrders(t *testing.T) {
	s := shop.New()
	shelves := answer(t, call(s, "GET", "/api/goods", "", "")).([]any)
	tea := map[string]any{"id": "tea", "name": "明前龙井 100g", "sign": "茶", "price": "¥128.00"}
	if diff := cmp.Diff(tea, shelves[0]); diff != "" {
		t.Errorf("first on the shelf (-want +got):\n%s", diff)
	}

	call(s, "POST", "/api/cart", `{"goods":"tea","n":3}`, "g1")
	inCart := map[string]any{"total": "¥256.00", "lines": []any{
		map[string]any{"id": "tea", "name": "明前龙井 100g", "sign": "茶", "price": "¥128.00", "quantity": 2.0},
	}}
	if diff := cmp.Diff(any(inCart), answer(t, call(s, "POST", "/api/cart", `{"goods":"tea","n":-1}`, "g1"))); diff != "" {
		t.Errorf("cart (-want +got):\n%s", diff)
	}

	placed := answer(t, call(s, "POST", "/api/orders", `{"note":"放在门卫"}`, "g1")).(map[string]any)
	if got := s.Orders("g1"); len(got) != 1 || got[0].Number != placed["number"] || got[0].Note != "放在门卫" {
		t.Errorf("orders of the guest: %+v, want %v", got, placed)
	}
	empty := map[string]any{"total": "¥0.00", "lines": []any{}}
	if diff := cmp.Diff(any(empty), answer(t, call(s, "GET", "/api/cart", "", "g1"))); diff != "" {
		t.Errorf("cart after the order (-want +got):\n%s", diff)
	}
	orders := answer(t, call(s, "GET", "/api/me/orders", "", "g1"))
	if diff := cmp.Diff(any([]any{placed}), orders); diff != "" {
		t.Errorf("my orders (-want +got):\n%s", diff)
	}
	if others := answer(t, call(s, "GET", "/api/me/orders", "", "g2")); len(others.([]any)) != 0 {
		t.Errorf("somebody else sees %v", others)
	}
}

func TestMiniProgramIsToldWhatTheShopCannotDo(t *testing.T) {
	s := shop.New()
	for name, c := range map[string]struct {
		path, body, id string
		want           int
	}{
		"nobody's cart":     {"/api/cart", `{"goods":"tea","n":1}`, "", http.StatusForbidden},
		"unknown goods":     {"/api/cart", `{"goods":"gold","n":1}`, "g1", http.StatusBadRequest},
		"too many":          {"/api/cart", `{"goods":"tea","n":100}`, "g1", http.StatusBadRequest},
		"no JSON":           {"/api/cart", `goods=tea`, "g1", http.StatusBadRequest},
		"empty cart":        {"/api/orders", `{}`, "g1", http.StatusConflict},
		"a long note":       {"/api/orders", `{"note":"` + strings.Repeat("茶", 201) + `"}`, "g1", http.StatusBadRequest},
		"an order, no JSON": {"/api/orders", `note`, "g1", http.StatusBadRequest},
	} {
		if got := call(s, "POST", c.path, c.body, c.id).Code; got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// Every page of app.json has its code and its template.
func TestMiniProgramIsWhole(t *testing.T) {
	raw, err := fs.ReadFile(shop.MiniProgram(), "app.json")
	if err != nil {
		t.Fatal(err)
	}
	var app struct{ Pages []string }
	if err := json.Unmarshal(raw, &app); err != nil || len(app.Pages) == 0 {
		t.Fatalf("app.json: %v, pages %q", err, app.Pages)
	}
	for _, page := range app.Pages {
		for _, kind := range []string{".js", ".wxml"} {
			if _, err := fs.Stat(shop.MiniProgram(), page+kind); err != nil {
				t.Error(err)
			}
		}
	}
}

// What the documentation shows of the demo shop's code is there.
func TestDocumentationShowsThisMiniProgram(t *testing.T) {
	text, err := os.ReadFile("../../../docs/miniprogram.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)in its `([\\w/.]+)`:\n\n```\\w+\n(.*?)\n```").FindAllSubmatch(text, -1)
	if len(shown) < 3 {
		t.Errorf("only %d pieces are shown", len(shown))
	}
	for _, block := range shown {
		code, err := fs.ReadFile(shop.MiniProgram(), string(block[1]))
		if err != nil {
			t.Error(err)
		} else if !bytes.Contains(code, block[2]) {
			t.Errorf("%s has no\n%s", block[1], block[2])
		}
	}
}
