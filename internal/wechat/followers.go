package wechat

import (
	"context"
	"errors"
	"net/url"
	"slices"
)

// FollowerBatch is how many users one call of Followers may ask about.
const FollowerBatch = 100

// FollowerRecord is what an official account may know of one user.
type FollowerRecord struct {
	OpenID     string
	UnionID    string // as Client.Follower returns it
	Subscribed bool
}

type followersAnswer struct {
	List []followerAnswer `json:"user_info_list"`
}

func (a *followersAnswer) problem() string {
	for _, u := range a.List {
		if problem := u.problem(); problem != "" {
			return problem
		}
	}
	return ""
}

// Followers returns what Follower does for up to FollowerBatch users at once,
// in any order. Users whom WeChat does not know are left out.
func (c *Client) Followers(ctx context.Context, app App, openIDs []string) ([]FollowerRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.followers(ctx, app, openIDs)
}

// followers looks for whom WeChat does not know by halves: it refuses a whole
// batch for one of them.
func (c *Client) followers(ctx context.Context, app App, openIDs []string) ([]FollowerRecord, error) {
	if len(openIDs) == 0 {
		return nil, nil
	}
	records, err := c.followerBatch(ctx, app, openIDs)
	var answer *Error
	if !errors.As(err, &answer) || answer.Code != codeBadOpenID && answer.Code != codeUnknownUser {
		return records, err
	}
	if len(openIDs) == 1 {
		return nil, nil
	}
	half := len(openIDs) / 2
	records, err = c.followers(ctx, app, openIDs[:half])
	if err != nil {
		return nil, err
	}
	others, err := c.followers(ctx, app, openIDs[half:])
	return append(records, others...), err
}

func (c *Client) followerBatch(ctx context.Context, app App, openIDs []string) ([]FollowerRecord, error) {
	users := make([]map[string]string, len(openIDs))
	for i, id := range openIDs {
		users[i] = map[string]string{"openid": id, "lang": "zh_CN"}
	}
	var a followersAnswer
	err := c.withToken(ctx, app, func(token string) error {
		return c.do(ctx, call{
			api: apiFollowers, appID: app.AppID, query: url.Values{"access_token": {token}},
			body: map[string]any{"user_list": users},
		}, busyRetries, &a)
	})
	if err != nil {
		return nil, err
	}
	records := make([]FollowerRecord, len(a.List))
	for i, u := range a.List {
		if !slices.Contains(openIDs, u.OpenID) {
			return nil, malformed(apiFollowers, "openid was not asked for")
		}
		records[i] = FollowerRecord{OpenID: u.OpenID, UnionID: u.UnionID, Subscribed: u.Subscribe == 1}
	}
	return records, nil
}

// followerIDsAnswer may lack data when the page is empty.
type followerIDsAnswer struct {
	Data struct {
		OpenIDs []string `json:"openid"`
	} `json:"data"`
	Next text `json:"next_openid"`
}

func (a *followerIDsAnswer) problem() string {
	for _, id := range a.Data.OpenIDs {
		if !identifier.MatchString(id) {
			return "an openid is malformed"
		}
	}
	return ""
}

// FollowerPage returns up to 10,000 followers of an official account, those
// behind the openid after, from the first if that is empty. next is what to
// pass for the page behind; empty means that this one is the last. A page that
// is not the last may be empty too, and WeChat names a next one behind the
// last that has openids.
func (c *Client) FollowerPage(ctx context.Context, app App, after string) (openIDs []string, next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var a followerIDsAnswer
	err = c.withToken(ctx, app, func(token string) error {
		return c.do(ctx, call{api: apiFollowerIDs, appID: app.AppID, query: url.Values{
			"access_token": {token},
			"next_openid":  {after},
		}}, busyRetries, &a)
	})
	if err != nil {
		return nil, "", err
	}
	if a.Next != "" && string(a.Next) == after {
		return nil, "", malformed(apiFollowerIDs, "the next page is this one")
	}
	return a.Data.OpenIDs, string(a.Next), nil
}
