package shop

import (
	"encoding/json"
	"io"
	"net/http"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// hookSecret is that of `webhook` in the Caddyfile.
const hookSecret = "whsec_ZGVtbyBzaG9wIGRlbW8gc2hvcCBkZW1vIHNob3AhIQ=="

// hook hears what has happened to accounts. Whoever logs in finds what he did
// as a guest without it too; with it the shop knows before he comes again.
func (s *Shop) hook() http.HandlerFunc {
	signed, err := standardwebhooks.NewWebhook(hookSecret)
	if err != nil {
		panic(err) // a constant
	}
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil || signed.Verify(body, r.Header) != nil {
			http.Error(w, "the signature does not fit", http.StatusUnauthorized)
			return
		}
		var event struct {
			Type string
			Data struct {
				To      string
				Aliases []string
			}
		}
		if err := json.Unmarshal(body, &event); err != nil {
			http.Error(w, "no JSON", http.StatusBadRequest)
			return
		}
		if event.Type == "wxgate.user.merged" || event.Type == "wxgate.user.merge_settled" {
			s.store.move(event.Data.Aliases, event.Data.To)
		}
		w.WriteHeader(http.StatusNoContent)
	}
}
