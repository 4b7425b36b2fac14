package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// MostCounted bounds how many messages of a queue [Depths] counts.
const MostCounted = 100_000

// A Depth is how much waits in a queue.
type Depth struct {
	Queue  string
	Due    int           // messages that somebody should read, at most [MostCounted]
	Oldest time.Duration // for how long the oldest of them has been due
}

// depthsSQL looks at all queues in one statement.
func depthsSQL(queues []string) string {
	parts := make([]string, len(queues))
	for i, queue := range queues {
		parts[i] = fmt.Sprintf(`
	select %d, count(*)::int, coalesce(extract(epoch from clock_timestamp() - min(d.vt)), 0)::float8
	from (select q.vt from pgmq.%s q where q.vt <= clock_timestamp() order by q.msg_id limit %d) d`, i, table(queue), MostCounted)
	}
	return strings.Join(parts, `
	union all`)
}

// Depths returns how much waits in the queues, in their order.
func Depths(ctx context.Context, db DB, queues []string) ([]Depth, error) {
	depths := make([]Depth, len(queues))
	if len(queues) == 0 {
		return depths, nil
	}
	rows, _ := db.Query(ctx, depthsSQL(queues)) // ForEachRow returns its error
	var i, due int
	var oldest float64
	_, err := pgx.ForEachRow(rows, []any{&i, &due, &oldest}, func() error {
		depths[i] = Depth{queues[i], due, time.Duration(oldest * float64(time.Second))}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look how much waits in %d queues: %w", len(queues), err)
	}
	return depths, nil
}
