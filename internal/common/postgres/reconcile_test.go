package postgres

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// TestResendAtOnce has two reconcilers rebuild the queues at the same time: the
// second finds what the first has sent.
func TestResendAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rest := Rest{Retrying: -2 * time.Hour}
	resend := map[string]func(DB) (int, error){
		"steps": func(db DB) (int, error) {
			return ResendSteps(t.Context(), db, StepQueue{Queue: testQueue, Templates: []uuid.UUID{w.template}}, rest, time.Hour)
		},
		"reports": func(db DB) (int, error) { return ResendReports(t.Context(), db, testResults, rest) },
	}
	if _, err := w.Exec(t.Context(), `truncate pgmq.q_`+testQueue+`, pgmq.q_`+testResults); err != nil {
		t.Fatal(err)
	}
	for name, do := range resend {
		first, err := w.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer first.Rollback(t.Context())
		if sent, err := do(first); sent == 0 || err != nil {
			t.Fatalf("%s: the first sent %d, %v", name, sent, err)
		}
		second := make(chan error, 1)
		var sent int
		go func() {
			second <- pgx.BeginFunc(t.Context(), w, func(tx pgx.Tx) (err error) {
				sent, err = do(tx)
				return err
			})
		}()
		for waits := false; !waits; { // for the first
			const sql = `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')`
			if err := w.QueryRow(t.Context(), sql).Scan(&waits); err != nil {
				t.Fatal(err)
			}
			if len(second) > 0 {
				break
			}
		}
		if err := first.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-second; sent != 0 || err != nil {
			t.Errorf("%s: the second sent %d, %v", name, sent, err)
		}
	}
	if found, err := Check(t.Context(), w.Pool, testQueues()); len(found) != 0 || err != nil {
		t.Errorf("got %q, %v", w.named(found), err)
	}
}
