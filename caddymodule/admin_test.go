package caddymodule

import (
	"io"
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

func (*reading) Close() error { return nil }

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

	show := func(first func()) (status int, answer string) {
		t.Helper()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Body = &reading{strings.NewReader(`{"user_id":"` + member + `"}`), first}
			if err := (adminAPI{}).Routes()[0].Handler.ServeHTTP(w, r); err != nil {
				t.Error(err)
			}
		}))
		defer server.Close()
		resp, err := http.Post(server.URL+"/wxgate/users/show", typeJSON, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	status, answer := show(func() {
		if err := reload(t, next); err != nil {
			t.Error(err)
		}
		if n := openDatabases(); n != 2 {
			t.Errorf("%d databases are open during the call", n)
		}
	})
	if status != http.StatusOK || !strings.Contains(answer, `"id":"`+member+`"`) {
		t.Errorf("answered %d %s", status, answer)
	}
	if n := openDatabases(); n != 1 {
		t.Errorf("%d databases are open after it", n)
	}
	if status, answer := show(nil); status != http.StatusNotFound {
		t.Errorf("the next call is answered by the old database: %d %s", status, answer)
	}
}
