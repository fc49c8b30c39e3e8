package shop_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/cmd/wxgate-sandbox/shop"
)

// visit is one request as it leaves the gateway. A form makes it a POST.
type visit struct {
	path               string
	form               url.Values
	id, kind, previous string
}

func (v visit) to(s *shop.Shop) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, v.path, nil)
	if v.form != nil {
		r = httptest.NewRequest(http.MethodPost, v.path, strings.NewReader(v.form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range map[string]string{"X-User-ID": v.id, "X-User-Kind": v.kind, "X-User-Previous-ID": v.previous} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// order puts one piece of goods in the cart of a guest, orders it and returns
// the order's number.
func order(t *testing.T, s *shop.Shop, id, goods, note string) string {
	t.Helper()
	visit{path: "/cart/add", form: url.Values{"goods": {goods}, "n": {"1"}}, id: id, kind: "guest"}.to(s)
	w := visit{path: "/orders", form: url.Values{"note": {note}}, id: id, kind: "guest"}.to(s)
	number, found := strings.CutPrefix(w.Header().Get("Location"), "/orders/")
	if w.Code != http.StatusSeeOther || !found {
		t.Fatalf("placing an order: %d, Location %q", w.Code, w.Header().Get("Location"))
	}
	return number
}

func numbers(orders []shop.Order) []string {
	var list []string
	for _, o := range orders {
		list = append(list, o.Number)
	}
	return list
}

func TestGuestWhoLogsInFindsHisOrdersAndHisCart(t *testing.T) {
	s := shop.New()
	first := order(t, s, "g1", "tea", "")
	second := order(t, s, "g2", "rice", "")
	visit{path: "/cart/add", form: url.Values{"goods": {"bowl"}, "n": {"2"}}, id: "g1", kind: "guest"}.to(s)
	visit{path: "/cart/add", form: url.Values{"goods": {"bowl"}, "n": {"1"}}, id: "m1", kind: "member"}.to(s)

	w := visit{path: "/me/orders", id: "m1", kind: "member", previous: "g2, g1"}.to(s)

	for _, number := range []string{first, second} {
		if !strings.Contains(w.Body.String(), number) {
			t.Errorf("order %s is not on the page", number)
		}
	}
	if diff := cmp.Diff([]string{second, first}, numbers(s.Orders("m1"))); diff != "" {
		t.Errorf("orders, newest first (-want +got):\n%s", diff)
	}
	if cart := s.Cart("m1"); len(cart) != 1 || cart[0].Quantity != 3 {
		t.Errorf("cart = %+v, want three bowls", cart)
	}
	if len(s.Orders("g1"))+len(s.Orders("g2"))+len(s.Cart("g1")) != 0 {
		t.Error("the guests still own something")
	}
}

func TestPreviousIDsMoveOnceAndOnlyToSomebody(t *testing.T) {
	for name, v := range map[string]visit{
		"again":           {path: "/", id: "m1", kind: "member", previous: "g1"},
		"own id":          {path: "/", id: "m1", kind: "member", previous: "m1"},
		"nobody":          {path: "/", previous: "m1"},
		"unknown id":      {path: "/", id: "m2", kind: "member", previous: "g9,,"},
		"somebody else's": {path: "/me/orders", id: "m2", kind: "member"},
	} {
		t.Run(name, func(t *testing.T) {
			s := shop.New()
			number := order(t, s, "g1", "tea", "")
			visit{path: "/", id: "m1", kind: "member", previous: "g1"}.to(s)
			v.to(s)
			if diff := cmp.Diff([]string{number}, numbers(s.Orders("m1"))); diff != "" {
				t.Errorf("orders of m1 (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOrderIsShownToItsOwnerOnly(t *testing.T) {
	s := shop.New()
	number := order(t, s, "g1", "tea", "")
	for id, want := range map[string]int{"g1": http.StatusOK, "g2": http.StatusNotFound, "": http.StatusNotFound} {
		if w := (visit{path: "/orders/" + number, id: id, kind: "guest"}).to(s); w.Code != want {
			t.Errorf("order of g1 seen by %q: %d, want %d", id, w.Code, want)
		}
	}
}

func TestGuestIsOfferedALoginForHisOrderAndAMemberIsNot(t *testing.T) {
	s := shop.New()
	number := order(t, s, "g1", "tea", "")
	const offer = `href="/wxgate/login?return_to=/me/orders"`
	if w := (visit{path: "/orders/" + number, id: "g1", kind: "guest"}).to(s); !strings.Contains(w.Body.String(), offer) {
		t.Error("the guest is not offered a login")
	}
	if w := (visit{path: "/orders/" + number, id: "m1", kind: "member", previous: "g1"}).to(s); strings.Contains(w.Body.String(), offer) {
		t.Error("the member is offered a login")
	}
}

func TestWhatVisitorsSendIsEscaped(t *testing.T) {
	const evil = `"><script>alert(1)</script>`
	s := shop.New()
	number := order(t, s, evil, "tea", evil)
	for _, path := range []string{"/", "/cart", "/me/orders", "/orders/" + number, "/nowhere?q=" + url.QueryEscape(evil)} {
		body := visit{path: path, id: evil, kind: evil}.to(s).Body.String()
		if strings.Contains(body, "<script>alert") {
			t.Errorf("%s: the page holds the script", path)
		}
		if !strings.Contains(body, "&lt;script&gt;alert(1)") {
			t.Errorf("%s: the page does not show the id", path)
		}
	}
}

func TestLoginLinkLeadsBackToThisPage(t *testing.T) {
	w := visit{path: "/cart?from=a%26b&n=1", id: "g1", kind: "guest"}.to(shop.New())
	want := `href="/wxgate/login?return_to=%2fcart%3ffrom%3da%2526b%26n%3d1"`
	if !strings.Contains(w.Body.String(), want) {
		t.Errorf("the page has no %s", want)
	}
}

func TestSummaryTellsWhatTheVisitorHas(t *testing.T) {
	s := shop.New()
	order(t, s, "g1", "tea", "")
	order(t, s, "g1", "honey", "")
	w := visit{path: "/api/me/summary", id: "m1", kind: "member", previous: "g1"}.to(s)
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"id": "m1", "kind": "member", "orders": 2.0, "spent": "¥187.00"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

func TestCartRefusesWhatTheShopDoesNotHave(t *testing.T) {
	for name, form := range map[string]url.Values{
		"unknown goods": {"goods": {"gold"}, "n": {"1"}},
		"no quantity":   {"goods": {"tea"}},
		"not a number":  {"goods": {"tea"}, "n": {"many"}},
		"too many":      {"goods": {"tea"}, "n": {"100"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := shop.New()
			w := visit{path: "/cart/add", form: form, id: "g1", kind: "guest"}.to(s)
			if w.Code != http.StatusBadRequest || len(s.Cart("g1")) != 0 {
				t.Errorf("status %d, cart %+v", w.Code, s.Cart("g1"))
			}
		})
	}
}

func TestCartQuantityStaysBetweenNoneAndNinetyNine(t *testing.T) {
	s := shop.New()
	change := func(n string) {
		visit{path: "/cart/add", form: url.Values{"goods": {"tea"}, "n": {n}}, id: "g1", kind: "guest"}.to(s)
	}
	change("98")
	change("5")
	if cart := s.Cart("g1"); len(cart) != 1 || cart[0].Quantity != 99 {
		t.Fatalf("cart = %+v, want 99 pieces", cart)
	}
	change("-99")
	change("-1")
	if cart := s.Cart("g1"); len(cart) != 0 {
		t.Errorf("cart = %+v, want it empty", cart)
	}
}

func TestNothingIsKeptForNobody(t *testing.T) {
	s := shop.New()
	add := visit{path: "/cart/add", form: url.Values{"goods": {"tea"}, "n": {"1"}}}.to(s)
	place := visit{path: "/orders", form: url.Values{}}.to(s)
	if add.Code != http.StatusForbidden || place.Code != http.StatusForbidden {
		t.Errorf("add: %d, order: %d, want 403 for both", add.Code, place.Code)
	}
	if len(s.Cart("")) != 0 {
		t.Error("nobody has a cart")
	}
}

func TestOrderNeedsACartAndAShortNote(t *testing.T) {
	s := shop.New()
	if w := (visit{path: "/orders", form: url.Values{}, id: "g1", kind: "guest"}).to(s); w.Code != http.StatusConflict {
		t.Errorf("empty cart: %d, want 409", w.Code)
	}
	visit{path: "/cart/add", form: url.Values{"goods": {"tea"}, "n": {"1"}}, id: "g1", kind: "guest"}.to(s)
	long := url.Values{"note": {strings.Repeat("长", 201)}}
	if w := (visit{path: "/orders", form: long, id: "g1", kind: "guest"}).to(s); w.Code != http.StatusBadRequest {
		t.Errorf("long note: %d, want 400", w.Code)
	}
	if len(s.Orders("g1")) != 0 {
		t.Error("an order was placed")
	}
}

func TestPaymentNotificationIsKeptByteForByteAndPaysTheOrder(t *testing.T) {
	s := shop.New()
	number := order(t, s, "g1", "tea", "")
	body := "\xff {\"order\":\"nobody's\"}\r\n"
	r := httptest.NewRequest(http.MethodPost, "/pay/notify", strings.NewReader(body))
	r.Header.Set("Wechatpay-Serial", "5157F09EFDC096DE")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if got, _ := io.ReadAll(w.Body); string(got) != body {
		t.Errorf("answer = %q, want %q", got, body)
	}
	last := s.Notifications()[0]
	if string(last.Body) != body || last.Header.Get("Wechatpay-Serial") != "5157F09EFDC096DE" {
		t.Errorf("kept %q with %v", last.Body, last.Header)
	}
	if s.Orders("g1")[0].Paid {
		t.Error("paid by a notification of another order")
	}

	s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/pay/notify",
		strings.NewReader(`{"order":"`+number+`"}`)))
	if !s.Orders("g1")[0].Paid {
		t.Error("not paid")
	}
}

func TestOnlyTheLatestNotificationsAreKept(t *testing.T) {
	s := shop.New()
	for range 105 {
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/pay/notify", strings.NewReader("x")))
	}
	if n := len(s.Notifications()); n != 100 {
		t.Errorf("%d notifications are kept, want 100", n)
	}
}

func TestAnotherSitesFormIsRefused(t *testing.T) {
	s := shop.New()
	r := httptest.NewRequest(http.MethodPost, "/cart/add", strings.NewReader("goods=tea&n=1"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("X-User-ID", "g1")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden || len(s.Cart("g1")) != 0 {
		t.Errorf("status %d, cart %+v", w.Code, s.Cart("g1"))
	}
}

func TestPagesAreWholeAndStaticFilesAreThere(t *testing.T) {
	s := shop.New()
	for path, want := range map[string]string{
		"/":                "</html>",
		"/cart":            "</html>",
		"/me/orders":       "</html>",
		"/static/shop.css": "--leaf",
		"/static/shop.js":  "/api/me/summary",
		"/static/icon.svg": "<svg",
	} {
		w := visit{path: path, id: "m1", kind: "member"}.to(s)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d, without %q", path, w.Code, want)
		}
	}
	if w := (visit{path: "/nowhere", id: "g1", kind: "guest"}).to(s); w.Code != http.StatusNotFound {
		t.Errorf("/nowhere: %d, want 404", w.Code)
	}
}
