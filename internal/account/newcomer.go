package account

// Newcomer is what the shop is told of a person who is about to become a
// member, so that it can make his user id.
type Newcomer struct {
	// Key is the same each time this person is asked for, by whichever
	// instance and also after a crash, until he is a member.
	Key string
	// GuestID is who he was to the shop so far; empty if nobody.
	GuestID string
	Phone   Phone // verified in this call; empty: none
	// What WeChat has proved; empty where it has not.
	AppID, OpenID, UnionID string
}
