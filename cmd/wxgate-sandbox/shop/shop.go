// Package shop is a small legacy shop for demonstrations and tests: goods, a
// cart, orders and a payment notification.
//
// It stands for the backend that was there before the gateway. It has no login
// of its own, has never heard of WeChat, and knows its visitors only by the
// headers X-User-ID, X-User-Kind and X-User-Previous-ID, which it believes:
// nothing but the gateway may reach it. It keeps everything in memory.
package shop

import (
	"embed"
	"html/template"
	"net/http"
	"slices"
	"strings"
)

//go:embed templates static miniprogram
var files embed.FS

// Shop is the whole shop. It is safe for concurrent use.
type Shop struct {
	store   *store
	pages   map[string]*template.Template
	handler http.Handler
}

var _ http.Handler = (*Shop)(nil)

// New returns a shop with goods on its shelves and no orders.
func New() *Shop {
	s := &Shop{store: newStore(), pages: parsePages()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.showGoods)
	mux.HandleFunc("GET /cart", s.showCart)
	mux.HandleFunc("POST /cart/add", s.addToCart)
	mux.HandleFunc("POST /orders", s.placeOrder)
	mux.HandleFunc("GET /orders/{number}", s.showOrder)
	mux.HandleFunc("GET /me/orders", s.showMyOrders)
	mux.HandleFunc("GET /api/me/summary", s.summary)
	mux.HandleFunc("GET /api/goods", s.apiGoods)
	mux.HandleFunc("GET /api/cart", s.apiCart)
	mux.HandleFunc("POST /api/cart", s.apiAddToCart)
	mux.HandleFunc("POST /api/orders", s.apiPlaceOrder)
	mux.HandleFunc("GET /api/me/orders", s.apiMyOrders)
	mux.HandleFunc("POST /pay/notify", s.payNotify)
	mux.HandleFunc("POST /hooks/wxgate", s.hook())
	mux.Handle("GET /static/", http.FileServerFS(files))
	mux.HandleFunc("/", s.notFound)
	s.handler = s.claimFirst(http.NewCrossOriginProtection().Handler(mux))
	return s
}

// ServeHTTP answers one request of a visitor.
func (s *Shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	s.handler.ServeHTTP(w, r)
}

// Orders returns the orders of a user, newest first.
func (s *Shop) Orders(userID string) []Order { return s.store.ordersOf(userID) }

// Cart returns the cart of a user in the order of the shelves.
func (s *Shop) Cart(userID string) []Line { return s.store.cartOf(userID) }

// Notifications returns the latest payment notifications as they arrived, at
// most 100, oldest first.
func (s *Shop) Notifications() []Notification { return s.store.notified() }

// visitor is who the gateway says is here. ID is empty for nobody.
type visitor struct {
	ID   string
	Kind string // guest or member
}

func visitorOf(r *http.Request) visitor {
	return visitor{ID: r.Header.Get("X-User-ID"), Kind: r.Header.Get("X-User-Kind")}
}

// Member reports whether the visitor has logged in.
func (v visitor) Member() bool { return v.Kind == "member" }

// claimFirst gives the visitor what he did under his earlier ids, before
// anything else looks. It is all that a shop has to do for guests who log in.
func (s *Shop) claimFirst(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if previous := r.Header.Get("X-User-Previous-ID"); previous != "" {
			s.store.move(splitIDs(previous), visitorOf(r).ID)
		}
		next.ServeHTTP(w, r)
	})
}

// splitIDs reads a comma separated list of ids.
func splitIDs(list string) []string {
	ids := strings.Split(list, ",")
	for i := range ids {
		ids[i] = strings.TrimSpace(ids[i])
	}
	return slices.DeleteFunc(ids, func(id string) bool { return id == "" })
}
