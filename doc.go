// Package tasker holds the words of Tasker and what a handler author calls.
//
// A task is one run of a template: a graph of steps that depend on each other.
// A handler runs the steps that name it:
//
//	handlers := tasker.NewHandlers()
//	tasker.Handle(handlers, "square", func(ctx context.Context, step *tasker.Step, in Number) (Number, error) {
//		return Number{N: in.N * in.N}, nil
//	})
//	worker.Main(handlers)
//
// The package imports nothing but the standard library. To run handlers see
// package worker, to create tasks package client, to test a handler or a whole
// workflow package taskertest. Start reading at [Handler].
package tasker
