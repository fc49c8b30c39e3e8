package shop

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"time"
	"unicode/utf8"
)

// MiniProgram returns the shop's mini program as its developer would upload it:
// app.json, app.js and the pages. It speaks with the shop in JSON.
func MiniProgram() fs.FS {
	program, err := fs.Sub(files, "miniprogram")
	if err != nil {
		panic(err) // a valid path
	}
	return program
}

// lineAnswer is a line of a shelf, a cart or an order as programs get it.
type lineAnswer struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Sign     string `json:"sign"`
	Price    string `json:"price"`
	Quantity int    `json:"quantity,omitempty"`
}

func linesAnswer(lines []Line) []lineAnswer {
	answers := make([]lineAnswer, 0, len(lines))
	for _, l := range lines {
		answers = append(answers, lineAnswer{l.ID, l.Name, l.Sign, yuan(l.Price), l.Quantity})
	}
	return answers
}

type cartAnswer struct {
	Lines []lineAnswer `json:"lines"`
	Total string       `json:"total"`
}

type orderAnswer struct {
	Number string       `json:"number"`
	Placed string       `json:"placed"`
	Paid   bool         `json:"paid"`
	Lines  []lineAnswer `json:"lines"`
	Total  string       `json:"total"`
}

func answerOf(o Order) orderAnswer {
	return orderAnswer{o.Number, o.Placed.Format("2006-01-02 15:04"), o.Paid, linesAnswer(o.Lines), yuan(o.Total())}
}

func (s *Shop) apiGoods(w http.ResponseWriter, _ *http.Request) {
	shelves := make([]Line, 0, len(s.store.goods))
	for _, g := range s.store.goods {
		shelves = append(shelves, Line{Goods: g})
	}
	writeJSON(w, linesAnswer(shelves))
}

func (s *Shop) apiCart(w http.ResponseWriter, r *http.Request) {
	lines := s.store.cartOf(visitorOf(r).ID)
	writeJSON(w, cartAnswer{linesAnswer(lines), yuan(total(lines))})
}

func (s *Shop) apiAddToCart(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Goods string `json:"goods"`
		N     int    `json:"n"`
	}
	switch v := visitorOf(r); {
	case v.ID == "":
		http.Error(w, "the shop does not know who you are", http.StatusForbidden)
	case !readJSON(w, r, &in) || in.N < -maxQuantity || in.N > maxQuantity || !s.store.add(v.ID, in.Goods, in.N):
		http.Error(w, "no such goods or quantity", http.StatusBadRequest)
	default:
		s.apiCart(w, r)
	}
}

func (s *Shop) apiPlaceOrder(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Note string `json:"note"`
	}
	if !readJSON(w, r, &in) || utf8.RuneCountInString(in.Note) > maxNoteRunes {
		http.Error(w, "the note is too long", http.StatusBadRequest)
		return
	}
	o, found := s.store.place(visitorOf(r).ID, in.Note, time.Now())
	if !found {
		http.Error(w, "the cart is empty", http.StatusConflict)
		return
	}
	writeJSON(w, answerOf(o))
}

func (s *Shop) apiMyOrders(w http.ResponseWriter, r *http.Request) {
	orders := []orderAnswer{}
	for _, o := range s.store.ordersOf(visitorOf(r).ID) {
		orders = append(orders, answerOf(o))
	}
	writeJSON(w, orders)
}

func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	return json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(into) == nil
}

// writeJSON leaves out what can only mean that nobody listens any more.
func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
