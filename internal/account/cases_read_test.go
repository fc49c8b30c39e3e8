package account

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The cases of testdata/linking.yaml, whose head explains the words.
type (
	linkCase struct {
		ID, Name string
		Rows     []string
		Config   struct {
			Guest        *bool
			Policy, Mode string
			Standin      []string
		}
		Given struct {
			Users []struct {
				ID, Kind, Phone, Merged string
				Created                 int
				Idle                    bool
			}
			Records  [][]*string
			Visitors [][]string
		}
		Steps []linkStep
		Final *struct {
			Records  [][]*string
			Visitors [][]string
		}
	}
	linkStep struct {
		Input    linkInput
		Expect   linkExpect
		Parallel []linkInput
		Any      struct {
			SameUserID  bool `yaml:"same_userid"`
			Records     int
			Merges      int
			RealCreated int `yaml:"real_created"`
		} `yaml:"expect_any_order"`
	}
	linkInput struct {
		Op, From, To                                              string
		Map                                                       [][4]string
		RetireOld                                                 bool `yaml:"retire_old"`
		AppID, OpenID, UnionID, UserID, Phone, Want, Env, Channel string
		Consented, Snapshot                                       bool
		SessionOpenID                                             string `yaml:"session_openid"`
		SessionUnionID                                            string `yaml:"session_unionid"`
	}
	linkExpect struct {
		UserID  *string
		nobody  bool
		Code    string
		Events  []string
		Aliases map[string][]string
	}
)

// UnmarshalYAML tells `userid: null` from no userid at all.
func (e *linkExpect) UnmarshalYAML(n *yaml.Node) error {
	type plain linkExpect
	if err := n.Decode((*plain)(e)); err != nil {
		return err
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "userid" && n.Content[i+1].Tag == "!!null" {
			e.nobody = true
		}
	}
	return nil
}

func readCases(t *testing.T) []linkCase {
	t.Helper()
	raw, err := os.ReadFile("testdata/linking.yaml")
	must(t, err)
	var all struct{ Cases []linkCase }
	must(t, yaml.Unmarshal(raw, &all))
	return all.Cases
}

// given is what the case begins with, in the words of a world. A guest has a
// row where he stands, or was merged.
func (c linkCase) given() (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	born, stored := map[string]int{}, map[string]bool{}
	guest := func(id string) {
		if !strings.HasPrefix(id, "V") || stored[id] {
			return
		}
		stored[id] = true
		if n, listed := born[id]; listed {
			say("guest %s %d", id, n)
		} else {
			say("guest %s %d", id, 1_000_000)
		}
	}
	for _, u := range c.Given.Users {
		born[u.ID] = u.Created
		if u.Kind == "member" {
			say("member %s", u.ID)
		}
		if u.Merged != "" {
			guest(u.ID)
		}
		if u.Phone != "" {
			say("phone %s %s", u.ID, u.Phone)
		}
		if u.Idle {
			say("idle %s", u.ID)
		}
	}
	for _, u := range c.Given.Users {
		if u.Merged != "" {
			guest(u.Merged)
			say("merged %s %s", u.ID, u.Merged)
		}
	}
	for _, rec := range c.Given.Records {
		user := "-"
		if rec[3] != nil {
			user = *rec[3]
		}
		guest(user)
		if rec[2] == nil {
			say("imported %s %s %s", *rec[0], *rec[1], user)
		} else {
			say("identity %s %s %s %s", *rec[0], *rec[1], *rec[2], user)
		}
	}
	for _, v := range c.Given.Visitors {
		guest(v[2])
		say("visitor %s %s %s", v[0], v[1], v[2])
	}
	return lines
}
