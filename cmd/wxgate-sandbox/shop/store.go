package shop

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Goods is one kind of thing on the shelves. Price is in fen.
type Goods struct {
	ID, Name, English, Sign string
	Price                   int
}

// Line is one line of a cart or an order.
type Line struct {
	Goods
	Quantity int
}

// Sum returns the price of the line in fen.
func (l Line) Sum() int { return l.Price * l.Quantity }

// Order is a placed order. Number is unique and fit to be read over a phone.
type Order struct {
	Number string
	Placed time.Time
	Lines  []Line
	Note   string // free text of the visitor
	Paid   bool
}

// Total returns the price of the order in fen.
func (o Order) Total() int { return total(o.Lines) }

func total(lines []Line) int {
	sum := 0
	for _, l := range lines {
		sum += l.Sum()
	}
	return sum
}

// Notification is what the payment provider sent: all headers as they reached
// the shop, and the body byte for byte.
type Notification struct {
	Header http.Header
	Body   []byte
}

const (
	maxQuantity      = 99
	maxNotifications = 100
)

// store is the shop's data: rows that belong to user ids it did not invent.
type store struct {
	mu            sync.Mutex
	goods         []Goods
	carts         map[string]map[string]int // user id -> goods id -> quantity
	orders        map[string][]Order        // user id -> orders
	placed        int
	notifications []Notification
}

func newStore() *store {
	return &store{
		carts:  map[string]map[string]int{},
		orders: map[string][]Order{},
		goods: []Goods{
			{ID: "tea", Name: "明前龙井 100g", English: "Longjing tea", Sign: "茶", Price: 12800},
			{ID: "honey", Name: "山花蜂蜜 500g", English: "Wild honey", Sign: "蜜", Price: 5900},
			{ID: "rice", Name: "五常大米 5kg", English: "Wuchang rice", Sign: "米", Price: 7990},
			{ID: "walnut", Name: "纸皮核桃 1kg", English: "Walnuts", Sign: "核", Price: 4580},
			{ID: "vinegar", Name: "老陈醋 500ml", English: "Aged vinegar", Sign: "醋", Price: 1680},
			{ID: "bowl", Name: "青瓷饭碗", English: "Celadon bowl", Sign: "碗", Price: 3600},
		},
	}
}

// move gives the rows of earlier ids to the id that replaced them. In a shop
// with a database it is one statement per table:
//
//	UPDATE orders SET user_id = :user WHERE user_id IN (:previous)
func (s *store) move(previous []string, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range previous {
		if old == user || user == "" {
			continue
		}
		for id, n := range s.carts[old] {
			s.put(user, id, n)
		}
		s.orders[user] = append(s.orders[user], s.orders[old]...)
		delete(s.carts, old)
		delete(s.orders, old)
	}
}

// put changes the quantity of goods in a cart by n. The caller holds the lock.
func (s *store) put(user, goods string, n int) {
	cart := s.carts[user]
	if cart == nil {
		cart = map[string]int{}
		s.carts[user] = cart
	}
	cart[goods] = min(cart[goods]+n, maxQuantity)
	if cart[goods] <= 0 {
		delete(cart, goods)
	}
}

// add changes the quantity of goods in a cart by n and reports whether the
// shop has such goods.
func (s *store) add(user, goods string, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.ContainsFunc(s.goods, func(g Goods) bool { return g.ID == goods }) {
		return false
	}
	s.put(user, goods, n)
	return true
}

func (s *store) cartOf(user string) []Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines(user)
}

func (s *store) lines(user string) []Line {
	var lines []Line
	for _, g := range s.goods {
		if n := s.carts[user][g.ID]; n > 0 {
			lines = append(lines, Line{Goods: g, Quantity: n})
		}
	}
	return lines
}

// place turns the cart into an order. found is false for an empty cart.
func (s *store) place(user, note string, now time.Time) (o Order, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := s.lines(user)
	if len(lines) == 0 {
		return Order{}, false
	}
	s.placed++
	o = Order{
		Number: fmt.Sprintf("%s-%04d", now.Format("20060102"), s.placed),
		Placed: now,
		Lines:  lines,
		Note:   note,
	}
	s.orders[user] = append(s.orders[user], o)
	delete(s.carts, user)
	return o, true
}

func (s *store) ordersOf(user string) []Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	orders := slices.Clone(s.orders[user])
	slices.SortFunc(orders, func(a, b Order) int { return b.Placed.Compare(a.Placed) })
	return orders
}

// order returns one order of this user; another user's order is not found.
func (s *store) order(user, number string) (Order, bool) {
	for _, o := range s.ordersOf(user) {
		if o.Number == number {
			return o, true
		}
	}
	return Order{}, false
}

// pay marks an order as paid, whoever it belongs to.
func (s *store) pay(number string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, orders := range s.orders {
		for i := range orders {
			if orders[i].Number == number {
				orders[i].Paid = true
			}
		}
	}
}

func (s *store) notify(n Notification) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notifications = append(s.notifications, n)
	if extra := len(s.notifications) - maxNotifications; extra > 0 {
		s.notifications = slices.Delete(s.notifications, 0, extra)
	}
}

func (s *store) notified() []Notification {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.notifications)
}
