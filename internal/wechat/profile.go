package wechat

import "strings"

// anonymousNickname is what WeChat calls everybody who tells no name, since
// November 2022 nearly everybody.
const anonymousNickname = "微信用户"

// greyAvatars are parts of the URLs of the grey figure that stands for those
// who show no picture: WeChat's own, and that of its example of chooseAvatar.
func greyAvatars() [2]string {
	return [...]string{
		"/POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4poC6icRiccVGKSyXwibcPq4BWmiaIGuG1icwxaQX6grC9VemZoJ8rg/",
		"/icTdbqWNOwNRna42FI242Lcia07jQodd2FJGIYQfG0LAJGFxM4FbnQP6yfMxBgJ0F3YRqJCJ1aPAK2dQagdusBZg/",
	}
}

// Given returns p without the name and the picture that WeChat puts in place of
// what somebody does not tell.
func (p Profile) Given() Profile {
	if p.Nickname == anonymousNickname {
		p.Nickname = ""
	}
	for _, grey := range greyAvatars() {
		if strings.Contains(p.AvatarURL, grey) {
			p.AvatarURL = ""
		}
	}
	return p
}
