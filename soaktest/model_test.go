package soaktest

import "slices"

// self is one who orders: an account, the WeChat account of a person who has no
// account yet, or the guest of a browser. Two become one when a person proves
// that both are his, and never else: this is the model that everything is
// compared with at the end.
type self struct {
	name   string
	into   *self // whom it has become a part of
	joined bool  // it is a part of another, or another of it
	ids    []string
}

// root is who a self is by now.
func (s *self) root() *self {
	for s.into != nil {
		s = s.into
	}
	return s
}

// join says that a person has proved, or is about to, that all of these are he.
// Those that do not exist are left out.
func join(selves ...*self) {
	var one *self
	for _, s := range selves {
		switch {
		case s == nil:
		case one == nil:
			one = s.root()
		case s.root() != one:
			one.joined, s.joined, s.root().joined = true, true, true
			one.ids = append(one.ids, s.root().ids...)
			s.root().into = one
		}
	}
}

// seen says that the shop was told of this self by an id.
func (s *self) seen(id string) {
	if r := s.root(); !slices.Contains(r.ids, id) {
		r.ids = append(r.ids, id)
	}
}

// person has a WeChat account and a phone, and nobody else has either. By the
// mode of the shop (first_login wechat_phone) whoever has proved his phone has
// an account, and it is the one of his WeChat account as soon as he has proved
// both in one place.
type person struct {
	name    string
	phone   string // the number
	address string // which he comes from

	wechat  *self // who he is by his unionid
	visitor *self // who he is to the official account, of which no unionid is known; nil: nobody
	account *self // who he is by his phone

	proved bool            // his phone, so that the account exists
	linked bool            // his WeChat account to his phone
	apps   map[string]bool // which WeChat has told his unionid
}

func newPerson(name, phone, address string) *person {
	return &person{
		name: name, phone: phone, address: address, apps: map[string]bool{},
		wechat: &self{name: name + "'s WeChat account"}, account: &self{name: name + "'s account"},
	}
}

// provesWeChat is a consent, a scan, or a login in an app.
func (p *person) provesWeChat(at *self, appID string) {
	join(p.wechat, at)
	if appID == accountApp {
		join(p.wechat, p.visitor)
	}
}

// provesPhone is a code by SMS, or a number from WeChat, where WeChat has told
// who he is, or has not.
func (p *person) provesPhone(at *self, inWeChat bool) {
	p.proved = true
	join(p.account, at)
	if inWeChat {
		p.linked = true
		join(p.account, p.wechat)
	}
}

// order is what a person has ordered.
type order struct {
	number string
	by     *self
	placed bool // the shop has said so; else it may have it or not
}
