package wechat_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wxgate/wxgate/internal/wechat"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// crowd adds n people who follow the shop and returns their openids.
func (w *world) crowd(n int) []string {
	w.Helper()
	ids := make([]string, n)
	for i := range ids {
		name := fmt.Sprint("fan", i)
		w.AddPerson(wechattest.Person{Name: name, Follower: true})
		ids[i] = w.OpenID(name, shopID)
	}
	return ids
}

func TestFollowersAreAskedInBatches(t *testing.T) {
	w := newWorld(t)
	ids := append(w.crowd(wechat.FollowerBatch-1), w.OpenID("li", shopID)) // li follows nothing
	records, err := w.client.Followers(t.Context(), shop(), ids)
	if err != nil || len(records) != len(ids) {
		t.Fatalf("%d records, error %v", len(records), err)
	}
	for _, r := range records {
		i := slices.Index(ids, r.OpenID)
		want := wechat.FollowerRecord{OpenID: r.OpenID, UnionID: w.UnionID(fmt.Sprint("fan", i), shopID), Subscribed: true}
		if r.OpenID == w.OpenID("li", shopID) {
			want.UnionID, want.Subscribed = "", false
		}
		if r != want {
			t.Errorf("record %+v, want %+v", r, want)
		}
	}
	wantCount(t, w.Server, wechattest.Followers, 1)
}

// One openid that WeChat does not know makes it refuse the batch; the others
// are answered all the same.
func TestAnUnknownOpenIDDoesNotHideTheOthers(t *testing.T) {
	w := newWorld(t)
	ids := w.crowd(20)
	for _, unknown := range []int{0, 7, 19} {
		asked := slices.Clone(ids)
		asked[unknown] = w.OpenID("wang", otherID) // of another app
		records, err := w.client.Followers(t.Context(), shop(), asked)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, r := range records {
			got[r.OpenID] = r.Subscribed && r.UnionID != ""
		}
		want := map[string]bool{}
		for i, id := range ids {
			if i != unknown {
				want[id] = true
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("with number %d unknown: %v", unknown, got)
		}
	}
}

func TestFollowersThatAreNoneOfThoseAsked(t *testing.T) {
	w := newWorld(t)
	ids := w.crowd(2)
	for name, list := range map[string]any{
		"a stranger":        []any{map[string]any{"subscribe": 1, "openid": "o-somebody-else", "unionid": "oX"}},
		"no openid":         []any{map[string]any{"subscribe": 1}},
		"a crooked unionid": []any{map[string]any{"subscribe": 1, "openid": ids[0], "unionid": "o X"}},
		"no list":           "none",
	} {
		w.Fail(wechattest.Followers, 1, wechattest.Fault{Set: map[string]any{"user_info_list": list}})
		records, err := w.client.Followers(t.Context(), shop(), ids)
		if len(records) > 0 {
			t.Errorf("%s: %v", name, records)
		}
		wantError(t, err, wechat.ErrUnavailable)
	}
}

// The list of followers has pages of 10,000, longer than any other answer, and
// its last page names a next one that is empty.
func TestFollowerPages(t *testing.T) {
	w := newWorld(t)
	want := append([]string{w.OpenID("wang", shopID)}, w.crowd(10_001)...)
	var got []string
	var sizes []int
	after := ""
	for {
		ids, next, err := w.client.FollowerPage(t.Context(), shop(), after)
		if err != nil {
			t.Fatal(err)
		}
		got, sizes, after = append(got, ids...), append(sizes, len(ids)), next
		if next == "" {
			break
		}
	}
	if !slices.Equal(got, want) || !slices.Equal(sizes, []int{10_000, 2, 0}) {
		t.Errorf("%d followers in pages of %v", len(got), sizes)
	}
}

// A page that names itself as the next one would be read for ever.
func TestFollowerPageThatRepeatsItself(t *testing.T) {
	w := newWorld(t)
	last := w.OpenID("wang", shopID)
	w.Fail(wechattest.FollowerList, 1, wechattest.Fault{Set: map[string]any{"next_openid": last}})
	_, _, err := w.client.FollowerPage(t.Context(), shop(), last)
	wantError(t, err, wechat.ErrUnavailable)
	w.Fail(wechattest.FollowerList, 1, wechattest.Fault{Set: map[string]any{"data": map[string]any{"openid": []string{"o 1"}}}})
	_, _, err = w.client.FollowerPage(t.Context(), shop(), "")
	wantError(t, err, wechat.ErrUnavailable)
}

// A token that somebody else has ended is replaced, and a busy platform is
// asked again.
func TestFollowerListsOutliveATokenAndABusyMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ids := w.crowd(1)
		for api, ask := range map[wechattest.API]func() (int, error){
			wechattest.Followers: func() (int, error) {
				r, err := w.client.Followers(t.Context(), shop(), ids)
				return len(r), err
			},
			wechattest.FollowerList: func() (int, error) {
				r, _, err := w.client.FollowerPage(t.Context(), shop(), w.OpenID("wang", shopID))
				return len(r), err
			},
		} {
			w.Fail(api, 2, wechattest.ErrCode(-1))
			if n, err := ask(); n != 1 || err != nil {
				t.Errorf("%s: %d, %v", api, n, err)
			}
			w.RevokeTokens(shopID)
			time.Sleep(time.Minute) // a token that is refused at once is not fetched again
			if n, err := ask(); n != 1 || err != nil {
				t.Errorf("%s after the token died: %d, %v", api, n, err)
			}
			wantCount(t, w.Server, api, 5)
		}
	})
}
