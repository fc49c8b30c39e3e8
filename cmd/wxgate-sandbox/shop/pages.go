package shop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	maxBody      = 64 << 10 // bytes of a form or a notification
	maxNoteRunes = 200
)

// page is what every template gets.
type page struct {
	Title   string
	Visitor visitor
	InCart  int    // pieces in the cart
	Here    string // path and query of this page, for the way back after a login
	Data    any
}

func parsePages() map[string]*template.Template {
	funcs := template.FuncMap{"yuan": yuan, "total": total}
	pages := map[string]*template.Template{}
	for _, name := range []string{"goods", "cart", "order", "orders", "message"} {
		pages[name] = template.Must(template.New("layout.html").Funcs(funcs).
			ParseFS(files, "templates/layout.html", "templates/"+name+".html"))
	}
	return pages
}

// yuan writes an amount of fen as people read it.
func yuan(fen int) string { return fmt.Sprintf("¥%d.%02d", fen/100, fen%100) }

func (s *Shop) render(w http.ResponseWriter, r *http.Request, name string, p page) {
	p.Visitor = visitorOf(r)
	p.Here = r.URL.RequestURI()
	if r.Method == http.MethodPost {
		p.Here = "/"
	}
	for _, l := range s.store.cartOf(p.Visitor.ID) {
		p.InCart += l.Quantity
	}
	var b bytes.Buffer
	if err := s.pages[name].Execute(&b, p); err != nil {
		http.Error(w, "rendering "+name+": "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if status, ok := p.Data.(message); ok {
		w.WriteHeader(status.Status)
	}
	b.WriteTo(w)
}

// message is a page that says one thing.
type message struct {
	Status int
	Text   string
	Hint   string
}

func (s *Shop) say(w http.ResponseWriter, r *http.Request, m message) {
	s.render(w, r, "message", page{Title: m.Text, Data: m})
}

func (s *Shop) notFound(w http.ResponseWriter, r *http.Request) {
	s.say(w, r, message{Status: http.StatusNotFound, Text: "没有这个页面", Hint: "Nothing here."})
}

func (s *Shop) showGoods(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, "goods", page{Title: "商品", Data: s.store.goods})
}

func (s *Shop) showCart(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, "cart", page{Title: "购物车", Data: s.store.cartOf(visitorOf(r).ID)})
}

// known answers a visitor without an id, for whom nothing can be kept.
func (s *Shop) known(w http.ResponseWriter, r *http.Request) bool {
	if visitorOf(r).ID != "" {
		return true
	}
	s.say(w, r, message{
		Status: http.StatusForbidden,
		Text:   "请先打开首页再试",
		Hint:   "The shop does not know who you are: open the first page with cookies on.",
	})
	return false
}

func (s *Shop) addToCart(w http.ResponseWriter, r *http.Request) {
	if !s.known(w, r) {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	n, err := strconv.Atoi(r.FormValue("n"))
	if err != nil || n < -maxQuantity || n > maxQuantity || !s.store.add(visitorOf(r).ID, r.FormValue("goods"), n) {
		s.say(w, r, message{Status: http.StatusBadRequest, Text: "没有这件商品", Hint: "No such goods or quantity."})
		return
	}
	http.Redirect(w, r, "/cart", http.StatusSeeOther)
}

func (s *Shop) placeOrder(w http.ResponseWriter, r *http.Request) {
	if !s.known(w, r) {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	note := r.FormValue("note")
	if utf8.RuneCountInString(note) > maxNoteRunes {
		s.say(w, r, message{Status: http.StatusBadRequest, Text: "备注太长", Hint: "The note is too long."})
		return
	}
	o, found := s.store.place(visitorOf(r).ID, note, time.Now())
	if !found {
		s.say(w, r, message{Status: http.StatusConflict, Text: "购物车是空的", Hint: "The cart is empty."})
		return
	}
	http.Redirect(w, r, "/orders/"+o.Number, http.StatusSeeOther)
}

func (s *Shop) showOrder(w http.ResponseWriter, r *http.Request) {
	o, found := s.store.order(visitorOf(r).ID, r.PathValue("number"))
	if !found {
		s.say(w, r, message{Status: http.StatusNotFound, Text: "没有这个订单", Hint: "No such order of yours."})
		return
	}
	s.render(w, r, "order", page{Title: "订单 " + o.Number, Data: o})
}

func (s *Shop) showMyOrders(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, "orders", page{Title: "我的订单", Data: s.store.ordersOf(visitorOf(r).ID)})
}

// summary is what a script of the page asks for.
func (s *Shop) summary(w http.ResponseWriter, r *http.Request) {
	v := visitorOf(r)
	answer := struct {
		ID     string `json:"id"`
		Kind   string `json:"kind"`
		Orders int    `json:"orders"`
		Spent  string `json:"spent"`
	}{ID: v.ID, Kind: v.Kind}
	spent := 0
	for _, o := range s.store.ordersOf(v.ID) {
		answer.Orders++
		spent += o.Total()
	}
	answer.Spent = yuan(spent)
	writeJSON(w, answer)
}

// payNotify is called by the payment provider, not by a visitor. It answers
// with the bytes it received, so that anyone can see that they are the same. A
// real shop verifies the provider's signature over these bytes first.
func (s *Shop) payNotify(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "reading notification: "+err.Error(), http.StatusBadRequest)
		return
	}
	s.store.notify(Notification{Header: r.Header.Clone(), Body: body})
	var paid struct {
		Order string `json:"order"`
	}
	if json.Unmarshal(body, &paid) == nil {
		s.store.pay(paid.Order)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write(body)
}
