// Package signingkey reads and makes the keys that sign tokens and check them:
// RSA, and Ed25519.
package signingkey

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
)

// The algorithms of JWA. The key alone decides which one is used.
const (
	RS256 = "RS256" // RSA
	EdDSA = "EdDSA" // Ed25519
)

// How long an RSA key may be, in bits. Longer ones make each check slow.
const (
	minBits = 2048
	maxBits = 8192
)

// ErrUnfit marks a key that may not be used.
var ErrUnfit = errors.New("only RSA keys of 2048 to 8192 bits and Ed25519 keys are taken")

// A Key checks tokens.
type Key struct {
	ID        string // of the key, as tokens name it in kid
	Algorithm string // the only one it is good for
	Public    crypto.PublicKey
}

// New returns the key to check with, named by the hash of what it is.
func New(public crypto.PublicKey) (Key, error) {
	algorithm := ""
	switch k := public.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); minBits <= bits && bits <= maxBits && k.E >= 3 && k.E%2 == 1 {
			algorithm = RS256
		}
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			algorithm = EdDSA
		}
	}
	if algorithm == "" {
		return Key{}, ErrUnfit
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Key{}, fmt.Errorf("encode the public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return Key{ID: base64.RawURLEncoding.EncodeToString(sum[:12]), Algorithm: algorithm, Public: public}, nil
}

// ParsePublic reads the public keys of a PEM text, one or, while keys are
// exchanged, several. Errors do not quote the text.
func ParsePublic(text string) ([]Key, error) {
	var keys []Key
	for rest := []byte(text); len(bytes.TrimSpace(rest)) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("there is something that is no PEM block")
		}
		public, err := parsePublic(block)
		if err != nil {
			return nil, err
		}
		key, err := New(public)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no PEM block")
	}
	return keys, nil
}

func parsePublic(block *pem.Block) (public crypto.PublicKey, err error) {
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return nil, errors.New("a block is none of PUBLIC KEY and RSA PUBLIC KEY")
	}
	if err != nil {
		return nil, errors.New("a block holds no public key")
	}
	return public, nil
}

// ParsePrivate reads the private key of a PEM text, and its public half. Errors
// do not quote the text.
func ParsePrivate(text string) (crypto.Signer, Key, error) {
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, Key{}, errors.New("there is no PEM block")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, Key{}, errors.New("there is more than one PEM block")
	}
	var private any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, Key{}, errors.New("the block is none of PRIVATE KEY and RSA PRIVATE KEY")
	}
	if err != nil {
		return nil, Key{}, errors.New("the block holds no private key")
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, Key{}, ErrUnfit
	}
	key, err := New(signer.Public())
	return signer, key, err
}

// Generate makes a key for an algorithm and returns both halves as PEM. It takes
// a moment for RSA.
func Generate(algorithm string) (private, public []byte, err error) {
	var signer crypto.Signer
	switch algorithm {
	case RS256:
		signer, err = rsa.GenerateKey(rand.Reader, 3072)
	case EdDSA:
		_, signer, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, nil, fmt.Errorf("the algorithm %q is neither %s nor %s", algorithm, EdDSA, RS256)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return nil, nil, fmt.Errorf("encode the private key: %w", err)
	}
	publicDER, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return nil, nil, fmt.Errorf("encode the public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER}), nil
}
