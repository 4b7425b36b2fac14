package migrations_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/tasker-systems/tasker-go/internal/testdb"
)

// A queue is a database with one queue, named q.
type queue struct {
	*pgx.Conn
	t *testing.T
}

func newQueue(t *testing.T) queue {
	t.Helper()
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), testdb.New(t))
	if err != nil {
		t.Fatal(err)
	}
	q := queue{conn, t}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	q.do(`select pgmq.create('q')`)
	return q
}

func (q queue) do(sql string, args ...any) {
	q.t.Helper()
	if _, err := q.Exec(q.t.Context(), sql, args...); err != nil {
		q.t.Fatalf("%s: %v", sql, err)
	}
}

// text returns the rows of a query, each as text, sorted.
func (q queue) text(sql string, args ...any) []string {
	q.t.Helper()
	rows, err := q.Query(q.t.Context(), `select r::text from (`+sql+`) r`, args...)
	if err != nil {
		q.t.Fatalf("%s: %v", sql, err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		q.t.Fatalf("%s: %v", sql, err)
	}
	slices.Sort(out)
	return out
}

// want compares the rows of a query, in any order.
func (q queue) want(sql string, want ...string) {
	q.t.Helper()
	slices.Sort(want)
	if got := q.text(sql); !slices.Equal(got, want) {
		q.t.Errorf("%s:\n got %q\nwant %q", sql, got, want)
	}
}

func TestQueueTables(t *testing.T) {
	q := newQueue(t)
	const columns = `select string_agg(column_name || ' ' || udt_name, ', ' order by column_name) as columns
		from information_schema.columns
		where table_schema = 'pgmq' and table_name = `
	q.want(columns+`'q_q'`, `("enqueued_at timestamptz, headers jsonb, message jsonb, msg_id int8, read_ct int4, vt timestamptz")`)
	q.want(columns+`'a_q'`,
		`("archived_at timestamptz, enqueued_at timestamptz, headers jsonb, message jsonb, msg_id int8, read_ct int4, vt timestamptz")`)
}

func TestCreateAndDrop(t *testing.T) {
	q := newQueue(t)
	q.do(`select pgmq.create('q')`)
	q.do(`select pgmq.create_unlogged('u')`)
	q.do(`select pgmq.create_unlogged('u')`)
	q.do(`select pgmq.create_non_partitioned('n')`)
	const list = `select queue_name, is_partitioned, is_unlogged from pgmq.list_queues()`
	q.want(list, "(n,f,f)", "(q,f,f)", "(u,f,t)")
	q.want(`select relname, relpersistence from pg_class where relname in ('q_q', 'q_u')`, "(q_q,p)", "(q_u,u)")
	q.want(`select pgmq.drop_queue('u') as a, pgmq.drop_queue('none') as b`, "(t,f)")
	q.want(list, "(n,f,f)", "(q,f,f)")
	q.want(`select relname from pg_class where relname in ('q_u', 'a_u')`)
	q.do(`select pgmq.create('u')`) // the name is free again
}

// TestCreateAtOnce: processes that start together create the same queues.
func TestCreateAtOnce(t *testing.T) {
	q := newQueue(t)
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			conn, err := pgx.ConnectConfig(t.Context(), q.Config())
			if err != nil {
				return err
			}
			defer conn.Close(t.Context())
			_, err = conn.Exec(t.Context(), `select pgmq.create_unlogged(n) from unnest(array['a', 'b', 'c']) n`)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	q.want(`select queue_name from pgmq.list_queues()`, "(a)", "(b)", "(c)", "(q)")
}

func TestNames(t *testing.T) {
	q := newQueue(t)
	if len(q.text(`select extname from pg_extension where extname = 'pgmq'`)) > 0 {
		t.Skip("the extension has rules of its own")
	}
	for _, name := range []string{"", "Upper", "a-b", "a b", `a"b`, "a;drop table x", "é", strings.Repeat("a", 48)} {
		for _, call := range []string{"pgmq.create($1)", "pgmq.send($1, '{}')", "pgmq.read($1, 1, 1)", "pgmq.drop_queue($1)", "pgmq.purge_queue($1)"} {
			_, err := q.Exec(t.Context(), "select "+call, name)
			var pgErr *pgconn.PgError
			if !errors.As(err, &pgErr) || pgErr.Code != "22023" {
				t.Errorf("%s of %q: %v, want an invalid parameter", call, name, err)
			}
		}
	}
	longest := strings.Repeat("a", 47)
	q.do(`select pgmq.create($1)`, longest)
	q.do(`select pgmq.send($1, '{}')`, longest)
}

func TestSendAndRead(t *testing.T) {
	q := newQueue(t)
	q.want(`select pgmq.send('q', '{"n": 1}') as id`, "(1)")
	q.want(`select * from pgmq.send_batch('q', array['{"n": 2}', '{"n": 3}']::jsonb[])`, "(2)", "(3)")
	const read = `select msg_id, read_ct, message->>'n' from pgmq.read('q', %d, %d)`
	q.want(fmt.Sprintf(read, 30, 2), "(1,1,1)", "(2,1,2)") // oldest first
	q.want(fmt.Sprintf(read, 0, 10), "(3,1,3)")            // the others are invisible
	q.want(fmt.Sprintf(read, 30, 10), "(3,2,3)")           // visible again at once
	q.want(fmt.Sprintf(read, 30, 10))
	q.want(`select msg_id, read_ct from pgmq.set_vt('q', 2, 0)`, "(2,1)")
	q.want(`select * from pgmq.set_vt('q', 99, 0)`)
	q.want(fmt.Sprintf(read, 30, 10), "(2,2,2)")
	q.want(`select vt > now() + interval '20 seconds' and vt < now() + interval '40 seconds' from pgmq.q_q`, "(t)", "(t)", "(t)")
	q.want(`select count(*) from pgmq.read('q', 30, 0)`, "(0)")
}

func TestDelay(t *testing.T) {
	q := newQueue(t)
	q.do(`select pgmq.send('q', '1', 3600), pgmq.send('q', '2', now() + interval '1 hour'), pgmq.send('q', '3', now() - interval '1 hour')`)
	q.do(`select pgmq.send_batch('q', array['4']::jsonb[], 3600)`)
	q.do(`select pgmq.send_batch('q', array['5']::jsonb[], now() - interval '1 hour')`)
	q.want(`select message from pgmq.read('q', 30, 10)`, "(3)", "(5)")
}

func TestPop(t *testing.T) {
	q := newQueue(t)
	q.do(`select pgmq.send_batch('q', array['1', '2']::jsonb[])`)
	q.want(`select msg_id, message from pgmq.pop('q')`, "(1,1)")
	q.want(`select msg_id, message from pgmq.pop('q')`, "(2,2)")
	q.want(`select msg_id from pgmq.pop('q')`)
}

func TestDeleteAndArchive(t *testing.T) {
	q := newQueue(t)
	q.do(`select pgmq.send_batch('q', array['1', '2', '3', '4', '5', '6']::jsonb[])`)
	q.want(`select pgmq.delete('q', 1)`, "(t)")
	q.want(`select pgmq.delete('q', 1)`, "(f)")
	q.want(`select * from pgmq.delete('q', array[2, 3, 99]::bigint[])`, "(2)", "(3)")
	q.want(`select pgmq.archive('q', 4)`, "(t)")
	q.want(`select pgmq.archive('q', 4)`, "(f)")
	q.want(`select * from pgmq.archive('q', array[5, 99]::bigint[])`, "(5)")
	q.want(`select msg_id from pgmq.q_q`, "(6)")
	q.want(`select msg_id, message, archived_at >= enqueued_at from pgmq.a_q`, "(4,4,t)", "(5,5,t)")
	q.want(`select pgmq.purge_queue('q')`, "(1)")
	q.want(`select count(*) from pgmq.q_q`, "(0)")
}

func TestMetrics(t *testing.T) {
	q := newQueue(t)
	const metrics = `select queue_name, queue_length, queue_visible_length, total_messages, newest_msg_age_sec, oldest_msg_age_sec from `
	q.want(metrics+`pgmq.metrics('q')`, "(q,0,0,0,,)")
	q.do(`select pgmq.send_batch('q', array['1', '2', '3']::jsonb[])`)
	q.do(`select pgmq.pop('q')`)
	q.do(`select pgmq.read('q', 30, 1)`)
	q.do(`update pgmq.q_q set enqueued_at = now() - interval '1 minute' where msg_id = 2`)
	q.do(`select pgmq.create('empty')`)
	q.want(metrics+`pgmq.metrics('q')`, "(q,2,1,3,0,60)")
	q.want(`select queue_name, queue_length from pgmq.metrics_all()`, "(empty,0)", "(q,2)")
}

// TestSendJoinsTheTransaction: a message exists once its sender has committed.
func TestSendJoinsTheTransaction(t *testing.T) {
	q := newQueue(t)
	for _, commit := range []bool{false, true} {
		tx, err := q.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), `select pgmq.send('q', $1)`, fmt.Sprint(commit)); err != nil {
			t.Fatal(err)
		}
		if commit {
			err = tx.Commit(t.Context())
		} else {
			err = tx.Rollback(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	q.want(`select message from pgmq.read('q', 30, 10)`, "(true)")
}

// TestReadersShare: concurrent readers get disjoint messages and do not wait for
// each other.
func TestReadersShare(t *testing.T) {
	q := newQueue(t)
	q.do(`select pgmq.send_batch('q', (select array_agg(to_jsonb(n)) from generate_series(1, 200) n))`)
	ids := make(chan int64, 400)
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			conn, err := pgx.ConnectConfig(t.Context(), q.Config())
			if err != nil {
				return err
			}
			defer conn.Close(t.Context())
			for began := time.Now(); len(ids) < 200 && time.Since(began) < time.Minute; {
				rows, _ := conn.Query(t.Context(), `select msg_id from pgmq.read('q', 3600, 7)`)
				got, err := pgx.CollectRows(rows, pgx.RowTo[int64])
				if err != nil {
					return err
				}
				for _, id := range got {
					ids <- id
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	close(ids)
	times := map[int64]int{}
	for id := range ids {
		if times[id]++; times[id] > 1 {
			t.Errorf("message %d was read twice", id)
		}
	}
	if len(times) != 200 {
		t.Errorf("%d messages were read, want 200", len(times))
	}
}
