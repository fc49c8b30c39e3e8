package wechattest

import (
	"net/http"
	"slices"
)

const (
	batchLimit = 100
	pageLimit  = 10000
)

func (s *Server) follower(r *apiRequest) answer {
	if refused := wrongMethod(r, http.MethodGet); refused != nil {
		return refused
	}
	appID, refused := s.checkServerToken(r)
	if refused != nil {
		return refused
	}
	openID := r.param("openid")
	if openID == "" {
		return fail(41009, "missing openid")
	}
	p := s.personByOpenID(openID, appID)
	if p == nil {
		return fail(40003, "invalid openid")
	}
	r.person = p.Name
	return s.followerAnswer(p, appID)
}

// followerAnswer is the record of one person; of somebody who does not follow
// the account it holds next to nothing.
func (s *Server) followerAnswer(p *Person, appID string) answer {
	a := answer{"subscribe": 0, "openid": s.OpenID(p.Name, appID), "tagid_list": []int{}}
	if !p.Follower {
		return a
	}
	a["subscribe"] = 1
	a["language"] = ""
	a["subscribe_time"] = s.now().Unix()
	a["remark"] = ""
	a["groupid"] = 0
	a["subscribe_scene"] = "ADD_SCENE_QR_CODE"
	a["qr_scene"] = 0
	a["qr_scene_str"] = ""
	if id := s.unionID(p.Name, appID); id != "" {
		a["unionid"] = id
	}
	return a
}

// followers answers in another order than it was asked in, which nothing
// forbids the platform.
func (s *Server) followers(r *apiRequest) answer {
	if refused := wrongMethod(r, http.MethodPost); refused != nil {
		return refused
	}
	appID, refused := s.checkServerToken(r)
	if refused != nil {
		return refused
	}
	var body struct {
		Users []struct {
			OpenID string `json:"openid"`
		} `json:"user_list"`
	}
	if refused := r.decode(&body); refused != nil {
		return refused
	}
	if len(body.Users) == 0 || len(body.Users) > batchLimit {
		return fail(40032, "invalid openid list size")
	}
	list := []answer{}
	for _, u := range slices.Backward(body.Users) {
		p := s.personByOpenID(u.OpenID, appID)
		if p == nil {
			return fail(40003, "invalid openid")
		}
		list = append(list, s.followerAnswer(p, appID))
	}
	return answer{"user_info_list": list}
}

func (s *Server) followerList(r *apiRequest) answer {
	if refused := wrongMethod(r, http.MethodGet); refused != nil {
		return refused
	}
	appID, refused := s.checkServerToken(r)
	if refused != nil {
		return refused
	}
	var all []string
	for _, p := range s.people {
		if p.Follower {
			all = append(all, s.OpenID(p.Name, appID))
		}
	}
	page, found := all, r.param("next_openid") == ""
	for i, id := range all {
		if id == r.param("next_openid") {
			page, found = all[i+1:], true
		}
	}
	if !found {
		return fail(40003, "invalid openid")
	}
	page = page[:min(len(page), pageLimit)]
	a := answer{"total": len(all), "count": len(page), "next_openid": ""}
	if len(page) > 0 {
		a["data"] = answer{"openid": page}
		a["next_openid"] = page[len(page)-1]
	}
	return a
}
