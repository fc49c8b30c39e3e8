package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// reading is a body that does something when it is first read.
type reading struct {
	*strings.Reader
	first func()
}

func (b *reading) Read(p []byte) (int, error) {
	if b.first != nil {
		b.first()
		b.first = nil
	}
	return b.Reader.Read(p)
}

// TestReloadClosesNoDatabaseUnderAnOperator: what he has begun ends with the
// database that it began with, which is closed then.
func TestReloadClosesNoDatabaseUnderAnOperator(t *testing.T) {
	rg := newRig(t)
	site := "http://127.0.0.1:PORT {\nGATE\nreverse_proxy SHOP\n}\n"
	mustLoad(t, rg.config("", site))
	rg.logIn(rg.browser("li"), "/me/orders")
	member := rg.shop.only(t).header.Get("X-User-ID")
	next := rg.config("database sqlite:"+filepath.Join(rg.dir, "other.db"), site)

	show := func(first func()) *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, "/wxgate/users/show", &reading{strings.NewReader(`{"user_id":"` + member + `"}`), first})
		r.Header.Set("Content-Type", typeJSON)
		w := httptest.NewRecorder()
		if err := (adminAPI{}).Routes()[0].Handler.ServeHTTP(w, r); err != nil {
			t.Fatal(err)
		}
		return w
	}
	w := show(func() {
		if err := reload(t, next); err != nil {
			t.Fatal(err)
		}
		if n := openDatabases(); n != 2 {
			t.Errorf("%d databases are open during the call", n)
		}
	})
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"id":"`+member+`"`) {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
	if n := openDatabases(); n != 1 {
		t.Errorf("%d databases are open after it", n)
	}
	if w := show(nil); w.Code != http.StatusNotFound {
		t.Errorf("the next call is answered by the old database: %d %s", w.Code, w.Body)
	}
}
