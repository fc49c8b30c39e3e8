package wechat

import (
	"testing"
	"time"
)

func TestRefreshAfter(t *testing.T) {
	tests := map[string]struct{ life, least, most time.Duration }{
		"a new token":              {7200 * time.Second, 6600 * time.Second, 6900 * time.Second},
		"one that is due anyway":   {600 * time.Second, time.Minute, 300 * time.Second},
		"one in its last minutes":  {400 * time.Second, time.Minute, 100 * time.Second},
		"one that will be renewed": {300 * time.Second, time.Minute, time.Minute},
		"one that is nearly over":  {10 * time.Second, 5 * time.Second, 5 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			seen := map[time.Duration]bool{}
			for range 1000 {
				d := refreshAfter(tt.life)
				if d < tt.least || d > tt.most {
					t.Fatalf("%v, want %v to %v", d, tt.least, tt.most)
				}
				seen[d] = true
			}
			if tt.least < tt.most && len(seen) < 10 {
				t.Error("instances do not spread out")
			}
		})
	}
}

// The cached token differs from the refused one: somebody has renewed it
// already, however long ago.
func TestRenewedTokenIsTaken(t *testing.T) {
	c, err := New(Config{API: "http://nobody.invalid"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	now := time.Now()
	c.credentials.keep("token:wx1", credential{Value: "new", Fetched: now.Add(-time.Hour), Expires: now.Add(time.Hour)})
	if got, err := c.RenewToken(t.Context(), App{AppID: "wx1"}, "old"); got.Value != "new" || err != nil {
		t.Errorf("token %q, error %v", got.Value, err)
	}
}
