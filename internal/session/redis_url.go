package session

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// parseRedisURL reads where a Redis is:
//
//	redis://user:password@host:6379/0
//	redis+sentinel://user:password@host:26379,host:26379/master/0?sentinel_password=...
//	redis+cluster://user:password@host:6379,host:6379
//
// With rediss in the place of redis connections are encrypted. User, password,
// ports and the number of the database may be left out. What is special in a
// URL is percent-encoded. No error shows a value, since it may be the password.
func parseRedisURL(raw string) (*redis.UniversalOptions, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	security, kind, _ := strings.Cut(scheme, "+")
	if !ok || security != "redis" && security != "rediss" || kind == "" && strings.HasSuffix(scheme, "+") {
		return nil, errors.New("a URL begins with redis://, rediss://, redis+sentinel:// or redis+cluster://")
	}
	rest, query, _ := strings.Cut(rest, "?")
	if strings.Contains(query, "@") || strings.LastIndexByte(rest, '@') > strings.IndexByte(rest+"/", '/') {
		return nil, errors.New("user or password is not percent-encoded")
	}
	authority, path, _ := strings.Cut(rest, "/")
	o := new(redis.UniversalOptions)
	if security == "rediss" {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	hosts := authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		hosts = authority[i+1:]
		if err := parseRedisUser(o, authority[:i]); err != nil {
			return nil, err
		}
	}
	port := "6379"
	switch kind {
	case "":
		if strings.Contains(hosts, ",") {
			return nil, errors.New("several hosts are for redis+sentinel:// or redis+cluster://")
		}
	case "sentinel":
		port = "26379"
		o.MasterName, path, _ = strings.Cut(path, "/")
		if o.MasterName == "" {
			return nil, errors.New("the name of the master is missing, as in redis+sentinel://host:26379/mymaster/0")
		}
	case "cluster":
		o.IsClusterMode = true
		if path != "" {
			return nil, errors.New("a Cluster has one database, which has no number")
		}
	default:
		return nil, errors.New("of kinds there are redis+sentinel:// and redis+cluster://")
	}
	if err := parseRedisDatabase(o, path); err != nil {
		return nil, err
	}
	if err := parseRedisQuery(o, query); err != nil {
		return nil, err
	}
	return o, parseRedisHosts(o, hosts, port)
}

func parseRedisUser(o *redis.UniversalOptions, userinfo string) error {
	user, password, ok := strings.Cut(userinfo, ":")
	if !ok {
		return errors.New("the password is missing, as in redis://:password@host or redis://user:password@host")
	}
	var err1, err2 error
	o.Username, err1 = url.PathUnescape(user)
	o.Password, err2 = url.PathUnescape(password)
	if err1 != nil || err2 != nil || strings.ContainsAny(userinfo, "@/ ") {
		return errors.New("user or password is not percent-encoded")
	}
	return nil
}

func parseRedisHosts(o *redis.UniversalOptions, hosts, port string) error {
	for h := range strings.SplitSeq(hosts, ",") {
		u, err := url.Parse("redis://" + h)
		if err != nil || u.Hostname() == "" || u.Host != h || strings.HasSuffix(h, ":") {
			return errors.New("a host is not like 10.0.0.7:6379 (special characters of a password are percent-encoded)")
		}
		p := u.Port()
		if p == "" {
			p = port
		}
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return errors.New("a port is not between 1 and 65535")
		}
		o.Addrs = append(o.Addrs, net.JoinHostPort(u.Hostname(), p))
	}
	return nil
}

func parseRedisDatabase(o *redis.UniversalOptions, path string) error {
	if path == "" {
		return nil
	}
	n, err := strconv.ParseUint(path, 10, 31)
	if err != nil {
		return errors.New("the path is not the number of a database, as in /0")
	}
	o.DB = int(n)
	return nil
}

// parseRedisQuery reads the credentials of Sentinels, which may have others
// than the servers they watch.
func parseRedisQuery(o *redis.UniversalOptions, query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("the part after the question mark is malformed")
	}
	for name, all := range values {
		switch {
		case len(all) > 1:
			return fmt.Errorf("parameter %q is repeated", name)
		case name == "sentinel_username" && o.MasterName != "":
			o.SentinelUsername = all[0]
		case name == "sentinel_password" && o.MasterName != "":
			o.SentinelPassword = all[0]
		default:
			return fmt.Errorf("unknown parameter %q", name)
		}
	}
	return nil
}
