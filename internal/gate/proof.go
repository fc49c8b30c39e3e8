package gate

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// proofName is what WeChat calls the files with which it checks whose a domain
// is: MP_verify_ and 16 letters or digits for official accounts, letters and
// digits alone for mini programs.
var proofName = regexp.MustCompile(`^[0-9A-Za-z_-]+\.txt$`)

// maxProof bounds such a file, in bytes; they have 16 to 32.
const maxProof = 4 << 10

func checkProofs(files map[string][]byte) error {
	for name, content := range files {
		switch {
		case !proofName.MatchString(name):
			return fmt.Errorf("verification_file: %q is not the name of a file that WeChat gives out, like MP_verify_0123456789abcdef.txt", name)
		case len(content) == 0 || len(content) > maxProof:
			return fmt.Errorf("verification_file: %s has %d bytes, 1 to %d are allowed", name, len(content), maxProof)
		}
	}
	return nil
}

// proof is the file that the URL as sent names, nil for none. It stands at the
// root of the site, where WeChat looks for it.
func (s *Site) proof(v *Visit) []byte {
	if len(s.cfg.VerificationFiles) == 0 || v.Method != http.MethodGet && v.Method != http.MethodHead {
		return nil
	}
	name, _ := strings.CutPrefix(v.Sent.Path, "/")
	return s.cfg.VerificationFiles[name]
}

func writeProof(w http.ResponseWriter, r *http.Request, content []byte) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(content)))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	if r.Method != http.MethodHead {
		_, _ = w.Write(content)
	}
}
