package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/assertion"
)

func readPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../backends.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// The code a developer copies from the pages is the code that these tests run.
func TestPagesShowTheTestedFiles(t *testing.T) {
	events, err := os.ReadFile("../events.md")
	if err != nil {
		t.Fatal(err)
	}
	pages := readPage(t) + string(events)
	shown := 0
	err = filepath.WalkDir(".", func(path string, file fs.DirEntry, err error) error {
		if err != nil || file.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !strings.Contains(pages, "\n"+string(source)+"```\n") {
			t.Errorf("neither docs/backends.md nor docs/events.md shows %s as it is", path)
		}
		shown++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := len(runtimes()) + 1 + 2 + 3; shown != want {
		t.Errorf("%d files, want a verifier for each language, claim-rows.php, two that make users, three that receive events: %d", shown, want)
	}
}

// hs256Edits returns what the page says to change for HS256, with that key.
// pieces are what the page shows of it.
func hs256Edits(t *testing.T, name, key string) (edits []edit, pieces []string) {
	t.Helper()
	switch name {
	case "PHP":
		const check = `hash_equals(hash_hmac('sha256', $signed, WXGATE_KEY, true), $signature)`
		return []edit{
			{"!== 'ES256'", "!== 'HS256'"},
			{"$this->isSigned($signed, self::decode($signature), $header)", "$this->isSigned($signed, self::decode($signature))"},
			{"string $signature, array $header)", "string $signature)"},
			{`        $key = $this->key($header['kid'] ?? null);
        return $key !== null && strlen($signature) === 64
            && openssl_verify($signed, self::toDer($signature), $key, OPENSSL_ALGO_SHA256) === 1;
`, "return " + check + ";\n"},
			{"final class", "const WXGATE_KEY = '" + key + "';\nfinal class"},
		}, []string{check}
	case "Java":
		const check, algorithm = `MessageDigest.isEqual(mac.doFinal(signed), signature)`, `Mac.getInstance("HmacSHA256")`
		return []edit{
			{`header.get("alg"), "ES256"`, `header.get("alg"), "HS256"`},
			{`        PublicKey key = key(header.path("kid").textValue());
        if (key == null || signature.length != 64) {
            return false;
        }
`, `        javax.crypto.Mac mac = javax.crypto.` + algorithm + `;
        mac.init(new javax.crypto.spec.SecretKeySpec("` + key + `".getBytes(StandardCharsets.UTF_8), "HmacSHA256"));
        if (true) {
            return java.security.` + check + `;
        }
        PublicKey key = null;
`},
		}, []string{check, algorithm}
	case "Node":
		const check = `timingSafeEqual(createHmac('sha256', WXGATE_KEY).update(signed).digest(), signature)`
		return []edit{
			{"!== 'ES256'", "!== 'HS256'"},
			{"import { createPublicKey,", "const WXGATE_KEY = '" + key + "'\nimport { createHmac, timingSafeEqual, createPublicKey,"},
			{`    const key = await this.#key(header.kid)
    return key && verifySignature('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }, signature)
`, "return " + check + "\n"},
		}, []string{check}
	case "Python":
		return []edit{
			{`self._key(header.get("kid"))`, `WXGATE_KEY`},
			{`algorithms=["ES256"]`, `algorithms=["HS256"]`},
			{"class Wxgate", "WXGATE_KEY = '" + key + "'\nclass Wxgate"},
		}, []string{"`WXGATE_KEY`", `algorithms=["HS256"]`}
	case "Go":
		const give, methods = `return []byte(wxgateKey), nil`, `jwt.WithValidMethods([]string{"HS256"})`
		return []edit{
			{`jwt.WithValidMethods([]string{"ES256"})`, methods},
			{"\tkid, _ := token", "\tif wxgateKey != \"\" {\n" + give + "\n}\n\tkid, _ := token"},
			{"func main", "const wxgateKey = `" + key + "`\nfunc main"},
		}, []string{give, methods}
	}
	t.Fatalf("the page says nothing of HS256 in %s", name)
	return nil, nil
}

func TestPageSaysWhatHS256Needs(t *testing.T) {
	const key, other = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	page := readPage(t)
	g := newGateway(t, assertion.ES256)
	sign := func(key string) string {
		signer, err := assertion.NewSigner(assertion.SignerConfig{
			Algorithm: assertion.HS256, Key: key, Issuer: issuer, Audience: audience,
		})
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(assertion.Claims{Subject: "1000000001", Kind: "guest"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return signed.Token
	}
	eachRuntime(t, func(t *testing.T, r runtime) {
		edits, pieces := hs256Edits(t, r.name, key)
		for _, piece := range pieces {
			if !strings.Contains(page, piece) {
				t.Errorf("docs/backends.md does not say %s", piece)
			}
		}
		v := r.start(t, g.jwksURL(), edits...)
		v.want(sign(key), "ok 1000000001 guest", "signed with the shared key")
		v.want(sign(other), "refused", "signed with another key")
		v.want(g.guest(t), "refused", "ES256")
	})
}

func TestRowsOfPreviousIDsMoveToTheUser(t *testing.T) {
	out, err := exec.Command(lookPath(t, "php", "php-cli"), "-r", `
		require 'claim-rows.php';
		$db = new PDO('sqlite::memory:', null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
		foreach (['orders', 'addresses', 'coupons'] as $table) {
			$db->exec("CREATE TABLE $table (id INTEGER PRIMARY KEY, user_id TEXT)");
			$db->exec("INSERT INTO $table (user_id) VALUES ('7'), ('8'), ('9'), ('1')");
		}
		claimRows($db, '1', []);
		claimRows($db, '1', ['9', '7']);
		claimRows($db, '1', ['9', '7']);
		foreach (['orders', 'addresses', 'coupons'] as $table) {
			echo $table, ' ', implode(' ', $db->query("SELECT user_id FROM $table ORDER BY id")->fetchAll(PDO::FETCH_COLUMN)), "\n";
		}`).CombinedOutput()
	if err != nil {
		t.Fatalf("%v (apt-get install php-sqlite3)\n%s", err, out)
	}
	if diff := cmp.Diff("orders 1 8 1 1\naddresses 1 8 1 1\ncoupons 1 8 1 1\n", string(out)); diff != "" {
		t.Errorf("owners after the move (-want +got):\n%s", diff)
	}
}
