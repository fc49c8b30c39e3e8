package gate

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"

	"github.com/wxgate/wxgate/internal/wechat"
)

// A hash router's route is behind the #, which no server is told, and WeChat's
// authorize URL has a fragment of its own that takes its place in the browser.
// So where the shop has such routes, a round of silent identification begins with
// a page that nobody sees: its script hands the fragment on to silentPath, and
// from there it is part of what the visitor returns to.

// silentPath is where that page leads, below the prefix.
const silentPath = "/silent"

// askFragment writes the page.
func (s *Site) askFragment(w http.ResponseWriter, r *http.Request, v *Visit) {
	data := struct{ Script, To string }{s.pages.scriptURL, s.cfg.Prefix + silentPath + "?return_to=" + url.QueryEscape(v.here())}
	var body bytes.Buffer
	if err := s.pages.tmpl.ExecuteTemplate(&body, "fragment.html", data); err != nil {
		s.Log.ErrorContext(r.Context(), "rendering a page", "page", "fragment", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	s.pages.header(w.Header(), body.Len())
	if r.Method != http.MethodHead {
		_, _ = w.Write(body.Bytes())
	}
}

// silent begins a round of silent identification that askFragment was asked
// for. Where there is none to begin the visitor goes on without.
func (s *Site) silent(w http.ResponseWriter, r *http.Request, v *Visit) {
	back := v.Sent.Query().Get("return_to")
	if len(back) > maxReturnTo { // the page alone is not, or askFragment had not been asked
		back, _, _ = strings.Cut(back, "#")
	}
	back = s.returnTo(back)
	if isNavigation(r) && !isPrefetch(r) && s.wantsSilent(v) {
		if f, _ := s.readFlow(v); f.begins(v.now) && s.authorize(r.Context(), w, v, authorization{flow: f, scope: wechat.ScopeBase, returnTo: back}) {
			return
		}
		back = withParam(back, "guest") // else the page would lead here again
	}
	s.redirect(w, back)
}
