package signingkey_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/tasker-systems/tasker-go/internal/common/signingkey"
)

func TestGenerateAndParse(t *testing.T) {
	t.Parallel()
	together, ids := "", map[string]bool{}
	for _, algorithm := range []string{signingkey.EdDSA, signingkey.RS256} {
		private, public, err := signingkey.Generate(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		_, half, err := signingkey.ParsePrivate(string(private))
		if err != nil || half.Algorithm != algorithm {
			t.Fatalf("got %q, %v", half.Algorithm, err)
		}
		keys, err := signingkey.ParsePublic(string(public))
		if err != nil || len(keys) != 1 || keys[0].ID != half.ID || keys[0].Algorithm != algorithm {
			t.Fatalf("got %+v, %v; want the other half of %s", keys, err, half.ID)
		}
		together += string(public) + "\n"
		ids[half.ID] = true
	}
	if keys, err := signingkey.ParsePublic(together); err != nil || len(keys) != 2 || len(ids) != 2 {
		t.Errorf("got %d keys named %v, %v", len(keys), ids, err)
	}
	if _, _, err := signingkey.Generate("HS256"); err == nil {
		t.Error("a key for HS256 was made")
	}
}

// TestUnfitKeys offers keys that must not be used. No error quotes them.
func TestUnfitKeys(t *testing.T) {
	t.Parallel()
	block := func(kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	pkcs8 := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return block("PRIVATE KEY", der, err)
	}
	pkix := func(key any) string {
		der, err := x509.MarshalPKIXPublicKey(key)
		return block("PUBLIC KEY", der, err)
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good, public, err := signingkey.Generate(signingkey.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "hunter2", pkcs8(short), pkcs8(curve), string(public), string(good) + string(good),
		block("PRIVATE KEY", []byte("hunter2"), nil), block("RSA PRIVATE KEY", nil, nil),
	} {
		if _, _, err := signingkey.ParsePrivate(text); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("ParsePrivate(%.40q): %v", text, err)
		}
	}
	for _, text := range []string{
		"", " \n", "hunter2", pkix(&short.PublicKey), pkix(&curve.PublicKey), string(good), string(public) + "hunter2",
		block("PUBLIC KEY", []byte("hunter2"), nil), block("RSA PUBLIC KEY", nil, nil), block("CERTIFICATE", nil, nil),
	} {
		if _, err := signingkey.ParsePublic(text); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("ParsePublic(%.40q): %v", text, err)
		}
	}
}
