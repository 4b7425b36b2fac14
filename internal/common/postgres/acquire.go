package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// An acquireBound bounds how long anybody waits for a free connection of the
// pool (common.database.pool.acquire_timeout_seconds). The pool has no setting
// for that, but lets a tracer give the context of each wait.
type acquireBound struct {
	timeout time.Duration
}

type endOfWait struct{} // key of a context: the function that ends it

// TraceAcquireStart implements [pgxpool.AcquireTracer].
func (b acquireBound) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	return context.WithValue(ctx, endOfWait{}, cancel)
}

// TraceAcquireEnd implements [pgxpool.AcquireTracer].
func (b acquireBound) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireEndData) {
	if cancel, ok := ctx.Value(endOfWait{}).(context.CancelFunc); ok {
		cancel()
	}
}

// TraceQueryStart implements [pgx.QueryTracer], which every tracer is.
func (acquireBound) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

// TraceQueryEnd implements [pgx.QueryTracer].
func (acquireBound) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
