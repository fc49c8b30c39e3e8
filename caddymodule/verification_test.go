package caddymodule

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestVerificationFilesStandAtTheRootOfTheSite(t *testing.T) {
	one := filepath.Join(write(t, "MP_verify_0123456789abcdef.txt", "0123456789abcdef"), "MP_verify_0123456789abcdef.txt")
	other := filepath.Join(write(t, "Xp5sM7yWkA.txt", "abc"), "Xp5sM7yWkA.txt")
	t.Setenv("PROOF", other)
	rg := newRig(t)
	for site, want := range map[string]string{
		"login /*": "", "login /*\nverification_file " + one + "\nverification_file {env.PROOF}": "0123456789abcdef abc",
	} {
		rg.run(setup{site: site})
		var got []string
		for _, name := range []string{"/MP_verify_0123456789abcdef.txt", "/Xp5sM7yWkA.txt"} {
			if answer := rg.elsewhere().stay(name); answer.StatusCode == http.StatusOK {
				got = append(got, answer.body)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q", site, got)
		}
	}
	for site, want := range map[string]string{
		"verification_file " + one + "x":                                     "verification_file: open ",
		"verification_file " + one + "\nverification_file " + one:            "verification_file: MP_verify_0123456789abcdef.txt is given twice",
		"verification_file " + filepath.Join(write(t, "a.txt", ""), "a.txt"): "verification_file: a.txt has 0 bytes",
	} {
		if err := load(t, rg.caddyfile(setup{site: site})); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", site, err)
		}
	}
}
