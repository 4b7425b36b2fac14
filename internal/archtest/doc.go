// Package archtest has no code, only two tests of the whole module: that
// imports run one way (imports_test.go holds the policy) and that the public API
// is what docs/api.txt says.
package archtest
