package caddymodule

import (
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/dbtest"
)

// gateBlock is the directive as these tests use it.
const gateBlock = `wxgate {
	external_url http://127.0.0.1
}
`

// TestProxyThatWalksAroundTheGateIsRefused loads sites whose proxy some
// request can reach without passing the gate.
func TestProxyThatWalksAroundTheGateIsRefused(t *testing.T) {
	const before = "without passing wxgate; put wxgate before it"
	const inErrors = "put the wxgate block into a snippet and import it in handle_errors too"
	tests := []struct{ name, site, want string }{
		{"in a route before the gate", `route {
			reverse_proxy /api/* 127.0.0.1:9000
			` + gateBlock + `
		}`, "'reverse_proxy 127.0.0.1:9000' " + before},
		{"in another handle than the gate", `handle /api/* {
			reverse_proxy 127.0.0.1:9000
		}
		handle {
			` + gateBlock + `
			reverse_proxy 127.0.0.1:9001
		}`, "'reverse_proxy 127.0.0.1:9000' " + before},
		{"in another handle_path than the gate", `handle_path /api/* {
			reverse_proxy 127.0.0.1:9000
		}
		handle {
			` + gateBlock + `
		}`, before},
		{"after handle blocks of which one has the gate", `handle /a/* {
			respond a
		}
		handle {
			` + gateBlock + `
		}
		reverse_proxy 127.0.0.1:9000`, before},
		{"ordered before the gate", `forward_auth 127.0.0.1:9000 {
			uri /check
		}
		handle {
			` + gateBlock + `
			reverse_proxy 127.0.0.1:9001
		}`, "'reverse_proxy 127.0.0.1:9000' " + before},
		{"of PHP", `route {
			php_fastcgi 127.0.0.1:9000
			` + gateBlock + `
		}`, "'php_fastcgi 127.0.0.1:9000' " + before},
		{"in a named route", `route {
			invoke shop
			` + gateBlock + `
		}`, before},
		{"in the answer to a status", `route {
			intercept {
				@missing status 404
				handle_response @missing {
					reverse_proxy 127.0.0.1:9000
				}
			}
			` + gateBlock + `
		}`, before},
		{"in handle_errors", gateBlock + `
		reverse_proxy 127.0.0.1:9000
		handle_errors {
			reverse_proxy 127.0.0.1:9001
		}`, "'reverse_proxy 127.0.0.1:9001' in handle_errors without passing wxgate; " + inErrors},
		{"in handle_errors of one status, the gate being in that of another", gateBlock + `
		handle_errors 404 {
			` + gateBlock + `
			reverse_proxy 127.0.0.1:9000
		}
		handle_errors 5xx {
			reverse_proxy 127.0.0.1:9001
		}`, "'reverse_proxy 127.0.0.1:9001' in handle_errors"},
		{"behind a gate of its own in handle_errors", gateBlock + `
		handle_errors {
			wxgate {
				external_url http://127.0.0.1
				public /errors/*
			}
			reverse_proxy 127.0.0.1:9000
		}`, "the wxgate block in handle_errors is another than that of the site; put one into a snippet and import it in both"},
		{"in a nested route of handle_errors", gateBlock + `
		handle_errors {
			handle /api/* {
				invoke shop
			}
		}`, inErrors},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			port := dbtest.Port(t)
			err := load(t, globals(t, "")+"&(shop) {\n\treverse_proxy 127.0.0.1:9002\n}\n"+
				"http://127.0.0.1:"+port+" {\n"+tt.site+"\n}\n")
			if err == nil {
				t.Fatal("loaded")
			}
			for _, want := range []string{"server srv0, site 127.0.0.1: ", tt.want} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestGateBehindAMatcherIsRefused(t *testing.T) {
	tests := []struct{ name, site string }{
		{"handle", "handle /shop/* {\n" + gateBlock + "\n}"},
		{"route", "route /shop/* {\n" + gateBlock + "\n}"},
		{"matched named route", "invoke /shop/* gated"},
		{"answer to a status", "intercept {\n@ok status 2xx\nhandle_response @ok {\n" + gateBlock + "\n}\n}\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			port := dbtest.Port(t)
			err := load(t, globals(t, "")+"&(gated) {\n"+gateBlock+"\nrespond hello\n}\n"+
				"http://127.0.0.1:"+port+" {\n"+tt.site+"\n}\n")
			if err == nil || !strings.Contains(err.Error(), "site 127.0.0.1: wxgate stands behind a matcher") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTwoGatesInOneSiteAreRefused(t *testing.T) {
	err := load(t, globals(t, "")+"http://127.0.0.1:"+dbtest.Port(t)+" {\n"+gateBlock+gateBlock+"reverse_proxy 127.0.0.1:9000\n}\n")
	if err == nil || !strings.Contains(err.Error(), "site 127.0.0.1: 2 wxgate blocks, but a site takes one") {
		t.Errorf("got %v", err)
	}
}

// TestSiteOfAPathNeedsTheGateOfItsHost: /api;x is no /api/* to Caddy, but it
// may be one to the shop.
func TestSiteOfAPathNeedsTheGateOfItsHost(t *testing.T) {
	port := dbtest.Port(t)
	err := load(t, globals(t, "")+"http://shop.test:"+port+"/api/* {\nreverse_proxy 127.0.0.1:9000\n}\n"+
		"http://shop.test:"+port+" {\n"+gateBlock+"reverse_proxy 127.0.0.1:9001\n}\n")
	if err == nil || !strings.Contains(err.Error(), "site shop.test: requests can reach 'reverse_proxy 127.0.0.1:9000'") {
		t.Errorf("got %v", err)
	}
}

// TestEveryProblemIsReportedAtOnce spares operators a round for each.
func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	port := dbtest.Port(t)
	err := load(t, globals(t, "")+"http://a.test:"+port+" {\nroute {\nreverse_proxy 127.0.0.1:9000\n"+gateBlock+"}\n}\n"+
		"http://b.test:"+port+" {\n"+gateBlock+"handle_errors {\nreverse_proxy 127.0.0.1:9001\n}\n}\n")
	if err == nil {
		t.Fatal("loaded")
	}
	for _, want := range []string{"site a.test: ", "site b.test: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

// TestOtherAuthorsProxiesAreRecognised by the names of their modules.
func TestOtherAuthorsProxiesAreRecognised(t *testing.T) {
	for name, want := range map[string]bool{
		"reverse_proxy": true, "forward_proxy": true, "proxy": true, "grpc_proxy": true, "php": true, "fastcgi": true, "cgi": true,
		"subroute": false, "file_server": false, "static_response": false, "wxgate": false, "encode": false,
	} {
		if got := isProxy(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestNamedRoutesThatInvokeEachOther end the walk, as they end the server's.
func TestNamedRoutesThatInvokeEachOther(t *testing.T) {
	err := load(t, globals(t, "")+"&(a) {\ninvoke b\n}\n&(b) {\ninvoke a\nreverse_proxy /x 127.0.0.1:9000\n}\nhttp://127.0.0.1:"+dbtest.Port(t)+
		" {\nroute {\ninvoke a\n"+gateBlock+"\n}\n}\n")
	if err == nil || !strings.Contains(err.Error(), "requests can reach 'reverse_proxy 127.0.0.1:9000' without passing wxgate") {
		t.Errorf("got %v", err)
	}
}

func TestSitesWhoseProxiesAreAllBehindTheGateLoad(t *testing.T) {
	tests := []struct{ name, config string }{
		{"plain", "http://127.0.0.1:PORT {\n" + gateBlock + "reverse_proxy 127.0.0.1:9000\n}\n"},
		{"nested", `http://127.0.0.1:PORT {
			handle /a/* {
				reverse_proxy 127.0.0.1:9000
			}
			handle_path /b/* {
				route {
					reverse_proxy 127.0.0.1:9000
				}
			}
			php_fastcgi /c/* 127.0.0.1:9000
			invoke /d/* shop
			forward_auth /e/* 127.0.0.1:9000 {
				uri /check
			}
			` + gateBlock + `
		}`},
		{"in a route", "http://127.0.0.1:PORT {\nroute {\n" + gateBlock + "\nreverse_proxy 127.0.0.1:9000\n}\n}\n"},
		{"in the fallback of handle blocks without proxies", `http://127.0.0.1:PORT {
			handle /static/* {
				file_server
			}
			handle {
				` + gateBlock + `
				reverse_proxy 127.0.0.1:9000
			}
		}`},
		{"in a named route", "http://127.0.0.1:PORT {\ninvoke gated\nreverse_proxy 127.0.0.1:9000\n}\n"},
		{"in handle_errors too", "http://127.0.0.1:PORT {\n" + gateBlock + "handle_errors {\n" + gateBlock + "reverse_proxy 127.0.0.1:9000\n}\n}\n"},
		{"in handle_errors of each status", "http://127.0.0.1:PORT {\n" + gateBlock + "handle_errors 404 {\n" + gateBlock +
			"reverse_proxy 127.0.0.1:9000\n}\nhandle_errors 5xx {\n" + gateBlock + "reverse_proxy 127.0.0.1:9000\n}\n}\n"},
		{"beside another site without a gate", "http://shop.test:PORT {\n" + gateBlock + "reverse_proxy 127.0.0.1:9000\n}\n" +
			"http://blog.test:PORT {\nreverse_proxy 127.0.0.1:9001\nhandle_errors {\nreverse_proxy 127.0.0.1:9001\n}\n}\n"},
		{"beside a more special site without a gate", "http://:PORT {\n" + gateBlock + "reverse_proxy 127.0.0.1:9000\n}\n" +
			"http://blog.test:PORT {\nreverse_proxy 127.0.0.1:9001\n}\n"},
		{"one gate for two hosts", "http://a.test:PORT, http://b.test:PORT {\n" + gateBlock + "reverse_proxy 127.0.0.1:9000\n}\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mustLoad(t, globals(t, "")+"&(gated) {\n"+gateBlock+"\n}\n&(shop) {\nreverse_proxy 127.0.0.1:9002\n}\n"+
				strings.ReplaceAll(tt.config, "PORT", dbtest.Port(t)))
		})
	}
}
