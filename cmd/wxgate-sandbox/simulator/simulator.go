// Package simulator is a phone that runs a mini program in any browser, on as
// much of WeChat's base library as the demo shop's mini program uses.
//
// The program is the real one, and so is the client of the gateway in it. Only
// what is WeChat's is played: `wx`, pages and their templates, the phone's
// network, and a web-view, which is a frame.
package simulator

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

//go:embed files
var files embed.FS

// Domain is what the mini program calls its site. The phone's network finds the
// gateway under this name, and no other host.
const Domain = "https://shop.example.com"

// networkPath is where the page reaches the phone's network.
const networkPath = "/network"

// Config says what the phone runs and what is around it.
type Config struct {
	AppID   string                   // of the mini program
	Program fs.FS                    // the mini program: app.json, app.js, app.wxss and the pages
	Client  []byte                   // of the gateway, as mini programs require it
	Gateway *url.URL                 // what Domain leads to
	WebView *url.URL                 // where pages look as in a web-view
	Taps    http.Handler             // what WeChat does on the phone, below /mini/wx/
	Holder  func() wechattest.Person // who holds the phone
}

// New returns the phone. It fails for a mini program without what every mini
// program has.
func New(c Config) (http.Handler, error) {
	program, err := pack(c.Program, c.Client)
	if err != nil {
		return nil, fmt.Errorf("packing the mini program: %w", err)
	}
	page, err := template.ParseFS(files, "files/phone.html")
	if err != nil {
		return nil, fmt.Errorf("parsing the phone's page: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { c.show(w, page) })
	for _, name := range []string{"phone.css", "phone.js", "wx.js", "library.js"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, files, "files/"+name)
		})
	}
	mux.HandleFunc("GET /program.js", serve("text/javascript", program.script))
	mux.HandleFunc("GET /program.css", serve("text/css", program.style))
	mux.HandleFunc("GET /holder", func(w http.ResponseWriter, r *http.Request) {
		serve("text/plain", []byte(c.Holder().Name))(w, r)
	})
	own := http.NewCrossOriginProtection()
	mux.Handle("POST /mini/wx/", own.Handler(c.Taps))
	mux.Handle(networkPath+"/", own.Handler(c.network()))
	return mux, nil
}

func serve(contentType string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType+"; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Write(body)
	}
}

// show writes the page of the phone, in the hands of whoever holds it now.
func (c Config) show(w http.ResponseWriter, page *template.Template) {
	var b bytes.Buffer
	err := page.Execute(&b, struct {
		AppID, Domain, Network, WebView string
		Gateway                         *url.URL
		Holder                          wechattest.Person
	}{c.AppID, Domain, networkPath, c.WebView.String(), c.Gateway, c.Holder()})
	if err != nil {
		http.Error(w, "rendering: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Content-Security-Policy",
		"default-src 'self'; frame-src "+c.WebView.String()+"; frame-ancestors 'none'")
	b.WriteTo(w)
}

// network sends what wx.request sends, as WeChat on a phone sends it: without
// anything that only browsers have, cookies first of all, and with a Referer
// that names the mini program.
func (c Config) network() http.Handler {
	return http.StripPrefix(networkPath, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(c.Gateway)
			r.Out.URL.RawQuery = r.In.URL.RawQuery
			for _, name := range []string{"Cookie", "Origin", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User"} {
				r.Out.Header.Del(name)
			}
			r.Out.Header.Set("User-Agent", wechattest.IPhoneUserAgent)
			r.Out.Header.Set("Referer", "https://servicewechat.com/"+c.AppID+"/0/page-frame.html")
		},
		ModifyResponse: func(answer *http.Response) error {
			answer.Header.Del("Set-Cookie")
			return nil
		},
	})
}
