package postgres

import (
	"context"
	"fmt"
	"time"
)

// Claims of a namespace that has a limit are made one at a time: each counts, in
// its next statement, what those before it have claimed.
const lockNamespaceSQL = `
	select from tasker.limits
	where name = $1 and origin = 'operator'
	for no key update`

// namespaceRoomSQL is how many steps a claim of at most $1 may take: no more than
// the limit named $4 leaves, and none unless the claim is alone ($7). What counts is in progress under a lease that holds;
// the rest of the queue is not looked at.
func namespaceRoomSQL(queue string) string {
	return fmt.Sprintf(`coalesce((
			select case when $7 then least($1, greatest(0, l.max_concurrent - (
				select count(*)
				from (
					select
					from pgmq.%s r
					cross join lateral (
						select
						from tasker.steps s
						where s.task_id = any (array[(r.message->>'task')::uuid]) and s.ordinal = (r.message->>'step')::int
						and s.state = 'in_progress'
						offset 0 -- a look-up per message
					) s
					where r.vt > now()
					limit l.max_concurrent
				) running
			))) else 0 end
			from tasker.limits l
			where l.name = $4 and l.origin = 'operator'
		), $1)`, table(queue))
}

// nextClaimSQL looks past the messages that have been due for longer than $2
// seconds: who read the queue then has left them, and polls find them. In a
// namespace with a limit it looks past all that are due: those wait for room,
// which comes with a wake-up or with the end of a lease.
func nextClaimSQL(queue string) string {
	return fmt.Sprintf(`
	select l.limited, extract(epoch from (
		select q.vt
		from pgmq.%s q
		where q.vt > case when l.limited then now() else now() - make_interval(secs => $2) end
		order by q.vt
		limit 1
	) - clock_timestamp())::float8
	from (select exists (select from tasker.limits where name = $1 and origin = 'operator') as limited) l`, table(queue))
}

// A NextClaim is when there may be something to claim that nobody announces.
type NextClaim struct {
	Any     bool
	Wait    time.Duration // until then, when there is any
	Limited bool          // the namespace has a limit: room is announced
}

// FindNextClaim returns when the next message of the queue is due, at once when
// one has become so since it was read, that long ago. Where the limit of the
// namespace may hold back those that are due, it returns when the next lease ends.
func FindNextClaim(ctx context.Context, db DB, queue, namespace string, since time.Duration) (NextClaim, error) {
	var n NextClaim
	var wait *float64
	if err := db.QueryRow(ctx, nextClaimSQL(queue), NamespaceLimit(namespace), seconds(since)).Scan(&n.Limited, &wait); err != nil {
		return n, fmt.Errorf("find the next due message of %s: %w", queue, err)
	}
	if wait != nil {
		n.Any, n.Wait = true, duration(*wait)
	}
	return n, nil
}
