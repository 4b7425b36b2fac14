// Package e2e has no code, only tests of Tasker as it is deployed: processes of
// their own on a real PostgreSQL, configured through the environment, spoken to
// over HTTP, stopped by signals and killed.
//
// The processes are copies of the test binary (programs_test.go), so the race
// detector watches them too. Handlers in them tell the test that they have begun
// and wait for its word (stage_test.go): nothing here sleeps.
//
// Start reading at site_test.go.
package e2e
