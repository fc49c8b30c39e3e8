package gate

import "net/http"

// ofOtherSites makes a request one of a page of another site.
func ofOtherSites() map[string]func(*http.Request) {
	from := func(site, origin string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			if site != "" {
				r.Header.Set("Sec-Fetch-Site", site)
			}
			r.Header.Set("Origin", origin)
		}
	}
	return map[string]func(*http.Request){
		"another site":                         from("cross-site", "https://evil.test"),
		"another site, by an old browser":      from("", "https://evil.test"),
		"another host of the domain":           from("same-site", "https://evil.shop.test"),
		"a page of nowhere, by an old browser": from("", "null"),
	}
}

// notJSON makes a request one that a form of any page can send.
func notJSON() map[string]func(*http.Request) {
	as := func(mediaType string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Content-Type", mediaType) }
	}
	return map[string]func(*http.Request){"a form": as("application/x-www-form-urlencoded"), "text": as("text/plain")}
}
