package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	tasker "github.com/tasker-systems/tasker-go"
)

// A Sample counts what waits, for metrics.
type Sample struct {
	Queues      []QueueSample
	Tasks       map[tasker.TaskState]int // that are open
	DeadLetters map[DLQReason]int        // that are pending
	Gated       int                      // steps at gates
}

// A QueueSample is how a queue stands.
type QueueSample struct {
	Queue    string
	Messages int
	Due      int           // of these
	Oldest   time.Duration // how long the one has been due that is due for the longest time; zero: none is
}

func sampleQueuesSQL(queues []string) string {
	counts := make([]string, len(queues))
	for i, queue := range queues {
		counts[i] = fmt.Sprintf(`
	select ($1::text[])[%d], count(*), count(*) filter (where vt <= clock_timestamp()),
		greatest(coalesce(extract(epoch from clock_timestamp() - min(vt)), 0), 0)::float8
	from pgmq.%s`, i+1, table(queue))
	}
	return strings.Join(counts, `
	union all`)
}

const sampleTasksSQL = `
	select state, count(*)
	from tasker.tasks
	where state not in ('complete', 'error', 'cancelled', 'resolved_manually')
	group by state`

const sampleDeadLettersSQL = `select reason, count(*) from tasker.dlq_entries where resolution = 'pending' group by reason`

const sampleGatedSQL = `select count(*) from tasker.gated_steps`

// TakeSample counts the messages of the queues, the open tasks and the rest, in
// one round trip; the planner chooses how.
func TakeSample(ctx context.Context, pool Pool, queues []string) (s Sample, err error) {
	s.Tasks, s.DeadLetters = map[tasker.TaskState]int{}, map[DLQReason]int{}
	b := &pgx.Batch{}
	b.Queue(sampleQueuesSQL(queues), queues).Query(func(rows pgx.Rows) error {
		s.Queues, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (q QueueSample, err error) {
			var oldest float64
			err = row.Scan(&q.Queue, &q.Messages, &q.Due, &oldest)
			q.Oldest = time.Duration(oldest * float64(time.Second))
			return q, err
		})
		return err
	})
	queueCounts(b, sampleTasksSQL, s.Tasks)
	queueCounts(b, sampleDeadLettersSQL, s.DeadLetters)
	b.Queue(sampleGatedSQL).QueryRow(func(row pgx.Row) error { return row.Scan(&s.Gated) })
	err = WithPlanner(ctx, pool, func(db DB) error { return db.SendBatch(ctx, b).Close() })
	if err != nil {
		return Sample{}, fmt.Errorf("count what waits: %w", err)
	}
	return s, nil
}

// queueCounts reads counts by some word.
func queueCounts[K ~string](b *pgx.Batch, sql string, into map[K]int) {
	b.Queue(sql).Query(func(rows pgx.Rows) error {
		var word K
		var n int
		_, err := pgx.ForEachRow(rows, []any{&word, &n}, func() error {
			into[word] = n
			return nil
		})
		return err
	})
}
