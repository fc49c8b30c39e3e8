package account

import "database/sql"

// storedOpenIDs is what the database says of the openids of a batch.
type storedOpenIDs struct {
	rules      Rules
	identities map[[2]string]storedIdentity // by appid and openid
	others     map[[2]string]string         // openid by appid and unionid
	owners     map[[2]string]storedOwner    // by scope and unionid
	bound      map[[2]string][]string       // unionids by user id and scope
	visitors   map[[2]string]string         // guest by appid and openid
	gone       map[string]bool              // users who were merged or cancelled
}

type storedIdentity struct {
	scope, unionID string
	userID         string // of an imported row, merges followed
}

// storedOwner is the user of a unionid; the zero value is nobody.
type storedOwner struct {
	userID string
	kind   Kind
}

// verdict is what is to be done with an openid of the file.
type verdict int

const (
	leaveOut verdict = iota
	isKnown          // stored so already
	addNew
	linkIt // somebody was faster, so the rules of Link say what becomes of him
)

// judge compares an openid of the file with what is stored.
func (s *storedOpenIDs) judge(r *openIDRow) (verdict, Problem) {
	row, known := s.identities[r.here()]
	switch {
	case s.gone[r.userID]: // since his own batch
		return contradicts(UserGone, r.userID)
	case known && row.unionID == "":
		return s.judgeWaiting(r, row)
	case known:
		return s.judgeIdentity(r, row)
	case r.unionID != "":
		return s.judgeUnionID(r)
	}
	visitor := s.visitors[r.here()]
	switch {
	case r.kind != Guest, visitor == "": // a member's visitor merges into him at the next visit
		return addNew, Problem{}
	case visitor == r.userID:
		return isKnown, Problem{}
	}
	return contradicts(OpenIDTwice, visitor)
}

func contradicts(code ProblemCode, stored string) (verdict, Problem) {
	return leaveOut, Problem{Code: code, Stored: stored}
}

// judgeWaiting is where an imported row waits for its unionid.
func (s *storedOpenIDs) judgeWaiting(r *openIDRow, row storedIdentity) (verdict, Problem) {
	switch {
	case row.userID != r.userID:
		return contradicts(OpenIDTwice, row.userID)
	case r.unionID == "":
		return isKnown, Problem{}
	}
	v, p := s.judgeUnionID(r)
	if v == addNew {
		v = linkIt
	}
	return v, p
}

// judgeIdentity is where the openid has a unionid.
func (s *storedOpenIDs) judgeIdentity(r *openIDRow, row storedIdentity) (verdict, Problem) {
	owner := s.owners[[2]string{row.scope, row.unionID}]
	switch {
	case r.unionID != "" && (r.unionID != row.unionID || r.scope != row.scope):
		return contradicts(OpenIDTwoUnionIDs, owner.userID)
	case owner.userID == r.userID:
		return isKnown, Problem{}
	case r.kind != Member || owner.kind == Member || row.scope != "":
		return contradicts(OpenIDTwice, owner.userID)
	case s.boundElsewhere(r.userID, row.scope, row.unionID):
		return contradicts(UserTwoUnionIDs, r.userID)
	}
	return linkIt, Problem{}
}

// judgeUnionID is where the unionid is new to the openid.
func (s *storedOpenIDs) judgeUnionID(r *openIDRow) (verdict, Problem) {
	owner, owned := s.owners[[2]string{r.scope, r.unionID}]
	visitor := s.visitors[r.here()]
	mayLink := r.kind == Member && r.scope == ""
	switch {
	case s.others[[2]string{r.appID, r.unionID}] != "":
		return contradicts(UnionIDTwoOpenIDs, owner.userID)
	case owned && owner.userID != r.userID && (!mayLink || owner.kind == Member):
		return contradicts(UnionIDTwice, owner.userID)
	case s.boundElsewhere(r.userID, r.scope, r.unionID):
		return contradicts(UserTwoUnionIDs, r.userID)
	case visitor != "" && !mayLink:
		return contradicts(OpenIDTwice, visitor)
	case visitor != "", owned && owner.userID != r.userID:
		return linkIt, Problem{}
	}
	return addNew, Problem{}
}

func (s *storedOpenIDs) boundElsewhere(userID, scope, unionID string) bool {
	if s.rules.Linking == ManyUnionIDs || userID == "" {
		return false
	}
	for _, other := range s.bound[[2]string{userID, scope}] {
		if other != unionID {
			return true
		}
	}
	return false
}

// add notes what is going to be stored.
func (s *storedOpenIDs) add(r *openIDRow) {
	s.identities[r.here()] = storedIdentity{r.scope, r.unionID, r.userID}
	if r.unionID == "" {
		return
	}
	owner := [2]string{r.scope, r.unionID}
	_, owned := s.owners[owner]
	r.newUnionID, r.apart = !owned, s.rules.apart(r.unionID)
	s.owners[owner] = storedOwner{r.userID, r.kind}
	s.others[[2]string{r.appID, r.unionID}] = r.openID
	bound := [2]string{r.userID, r.scope}
	s.bound[bound] = append(s.bound[bound], r.unionID)
}

// readOpenIDs reads what is stored of the openids, unionids and users of a
// batch.
func (b *batch) readOpenIDs(rows []*openIDRow) (*storedOpenIDs, error) {
	s := &storedOpenIDs{
		identities: map[[2]string]storedIdentity{}, others: map[[2]string]string{}, owners: map[[2]string]storedOwner{},
		bound: map[[2]string][]string{}, visitors: map[[2]string]string{}, gone: map[string]bool{},
	}
	openIDs, unionIDs, scopes, users := grouped{}, grouped{}, grouped{}, grouped{}
	for _, r := range rows {
		openIDs.add(r.appID, r.openID)
		if r.unionID != "" {
			unionIDs.add(r.appID, r.unionID)
			scopes.add(r.scope, r.unionID)
		}
		if r.userID != "" {
			users.add("", r.userID)
		}
	}
	for appID, ids := range openIDs {
		if err := s.readIdentities(b, appID, ids); err != nil {
			return nil, err
		}
	}
	for here, row := range s.identities {
		if r := row.unionID; r != "" {
			scopes.add(row.scope, r)
			unionIDs.add(here[0], r)
		}
	}
	for appID, ids := range unionIDs {
		err := b.among(`SELECT unionid, openid FROM wxgate_identity WHERE scope = '' AND appid = ? AND unionid`,
			[]any{appID}, ids, s.pairs(s.others, appID))
		if err != nil {
			return nil, err
		}
	}
	for scope, ids := range scopes {
		if err := s.readOwners(b, scope, ids); err != nil {
			return nil, err
		}
	}
	return s, s.readUsers(b, users[""])
}

// pairs puts rows of two columns into a map.
func (*storedOpenIDs) pairs(m map[[2]string]string, first string) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var key, value string
		err := rows.Scan(&key, &value)
		m[[2]string{first, key}] = value
		return err
	}
}

func (s *storedOpenIDs) readIdentities(b *batch, appID string, openIDs []any) error {
	err := b.among(`SELECT i.openid, i.scope, coalesce(i.unionid, ''), coalesce(u.merged_into, u.id, '')
		FROM wxgate_identity i LEFT JOIN wxgate_user u ON u.id = i.user_id WHERE i.appid = ? AND i.openid`,
		[]any{appID}, openIDs, func(rows *sql.Rows) error {
			var openID string
			var row storedIdentity
			err := rows.Scan(&openID, &row.scope, &row.unionID, &row.userID)
			s.identities[[2]string{appID, openID}] = row
			return err
		})
	if err != nil {
		return err
	}
	return b.among(`SELECT openid, guest_id FROM wxgate_visitor WHERE appid = ? AND openid`,
		[]any{appID}, openIDs, s.pairs(s.visitors, appID))
}

func (s *storedOpenIDs) readOwners(b *batch, scope string, unionIDs []any) error {
	return b.among(`SELECT n.unionid, coalesce(u.id, ''), coalesce(u.kind, '')
		FROM wxgate_unionid n LEFT JOIN wxgate_user u ON u.id = n.user_id WHERE n.scope = ? AND n.unionid`,
		[]any{scope}, unionIDs, func(rows *sql.Rows) error {
			var unionID string
			var o storedOwner
			err := rows.Scan(&unionID, &o.userID, &o.kind)
			s.owners[[2]string{scope, unionID}] = o
			return err
		})
}

// readUsers reads who is gone, and which unionids the others have.
func (s *storedOpenIDs) readUsers(b *batch, users []any) error {
	err := b.among(`SELECT id FROM wxgate_user WHERE (merged_into IS NOT NULL OR cancelled IS NOT NULL) AND id`, nil, users, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		s.gone[id] = true
		return err
	})
	if err != nil {
		return err
	}
	return b.among(`SELECT user_id, scope, unionid FROM wxgate_unionid WHERE user_id`, nil, users, func(rows *sql.Rows) error {
		var key [2]string
		var unionID string
		err := rows.Scan(&key[0], &key[1], &unionID)
		s.bound[key] = append(s.bound[key], unionID)
		return err
	})
}
