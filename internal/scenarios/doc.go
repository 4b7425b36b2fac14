// Package scenarios has no code, only tests: the workflows that the original
// documents as its acceptance (docs/scenarios.md), run through the engine with
// handlers of ours, and compared with outcomes worked out beforehand.
//
// The template files of the original are not part of this repository. Where a
// copy of them lies beside the repository, in shared/data, they run as they are;
// workflows of the same shapes in testdata/templates run everywhere.
//
// Start reading at scenarios_test.go.
package scenarios
