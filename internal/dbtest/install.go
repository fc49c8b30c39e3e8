package dbtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
)

// installPostgres makes a cluster as a package of a distribution does, but with
// a collation that is not byte order, to show that nothing depends on it.
func installPostgres(durable bool) (*process, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	p, err := newProcess("QUIT") // so that it removes its shared memory
	if err != nil {
		return nil, err
	}
	data, secret := filepath.Join(p.dir, "data"), filepath.Join(p.dir, "password")
	if err := os.WriteFile(secret, []byte(adminPassword), 0o644); err != nil {
		return nil, err
	}
	p.args = []string{filepath.Join(bin, "postgres"), "-D", data, "-k", p.dir, "-p", strconv.Itoa(p.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300", "-c", "timezone=Asia/Shanghai"}
	if !durable {
		p.args = append(p.args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	return p, p.tool(filepath.Join(bin, "initdb"), "-D", data, "-U", admin, "-A", "password", "--pwfile", secret,
		"-E", "UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en-US", "--no-sync")
}

// postgresBin finds the newest server: Debian keeps them out of the PATH.
func postgresBin() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		path, err := exec.LookPath("postgres")
		if err != nil {
			return "", fmt.Errorf("%w (make deps installs it)", err)
		}
		return filepath.Dir(path), nil
	}
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	return filepath.Dir(found[0]), nil
}

func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// installMariaDB makes a server with the defaults of MariaDB.
func installMariaDB(durable bool) (*process, error) {
	p, err := newProcess("KILL")
	if err != nil {
		return nil, err
	}
	data, initial := filepath.Join(p.dir, "data"), filepath.Join(p.dir, "initial.sql")
	err = os.WriteFile(initial, []byte("GRANT ALL ON *.* TO "+admin+"@'127.0.0.1' IDENTIFIED BY '"+adminPassword+"' WITH GRANT OPTION;\n"), 0o644)
	if err != nil {
		return nil, err
	}
	// Temporary tables are named after a process, and two of them may have one
	// number where each has processes of its own and all share a folder.
	options := []string{"--no-defaults", "--datadir=" + data, "--tmpdir=" + p.dir, "--innodb-log-file-size=16M"}
	p.args = append([]string{"mariadbd"}, append(options, "--socket="+filepath.Join(p.dir, "socket"), "--pid-file="+filepath.Join(data, "pid"),
		"--bind-address=127.0.0.1", "--port="+strconv.Itoa(p.port), "--max-connections=300", "--skip-name-resolve",
		"--init-file="+initial, "--default-time-zone=+08:00")...)
	if !durable {
		p.args = append(p.args, "--innodb-flush-log-at-trx-commit=2", "--skip-innodb-doublewrite")
	}
	if _, err := exec.LookPath(p.args[0]); err != nil {
		p.args[0] = "/usr/sbin/mariadbd" // not in everybody's PATH
	}
	return p, p.tool("mariadb-install-db", append(options, "--auth-root-authentication-method=normal", "--skip-test-db",
		"--innodb-flush-log-at-trx-commit=0", "--skip-innodb-doublewrite")...)
}
