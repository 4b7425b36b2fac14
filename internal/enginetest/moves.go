package enginetest

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/tasker-go/internal/common/state"
)

// byHand is the setting under which a test may move rows as it likes, to see
// what the engine makes of it.
const byHand = "tasker_test.by_hand"

// movesSQL has the database note each change of state that the tables of package
// state do not have, and each claim number that goes back. With record it notes
// the others too.
func movesSQL(record bool) string {
	return fmt.Sprintf(`
	create schema if not exists tasker_test;
	create table if not exists tasker_test.moves (what text, task_id uuid, move text, allowed boolean);
	create or replace function tasker_test.note() returns trigger language plpgsql as $$
	declare
		was text := '';
		allowed boolean;
	begin
		if current_setting('%[1]s', true) = 'on' then
			return null;
		end if;
		if tg_op = 'UPDATE' then
			was := old.state::text;
		end if;
		allowed := was = new.state::text or was || '>' || new.state::text = any (tg_argv[1]::text[]);
		if tg_op = 'UPDATE' and tg_argv[0] = 'step' then
			allowed := allowed and (to_jsonb(new)->>'claim')::int >= (to_jsonb(old)->>'claim')::int;
		end if;
		if %[2]t or not allowed then
			insert into tasker_test.moves values (tg_argv[0], new.task_id, was || '>' || new.state::text, allowed);
		end if;
		return null;
	end $$;`, byHand, record) +
		triggersSQL("task", "tasker.tasks", "old.state is distinct from new.state", state.Tasks.Pairs()) +
		triggersSQL("step", "tasker.steps", "old.state is distinct from new.state or new.claim < old.claim", state.Steps.Pairs())
}

func triggersSQL(what, table, when string, allowed []state.Pair) string {
	pairs := make([]string, len(allowed))
	for i, p := range allowed {
		pairs[i] = p.From + ">" + p.To
	}
	return fmt.Sprintf(`
	create or replace trigger note_insert after insert on %[2]s
		for each row execute function tasker_test.note('%[1]s', '{%[4]s}');
	create or replace trigger note_update after update on %[2]s
		for each row when (%[3]s) execute function tasker_test.note('%[1]s', '{%[4]s}');`,
		what, table, when, strings.Join(pairs, ","))
}

// watchMoves installs what movesSQL says.
func (e *Engine) watchMoves(record bool) {
	e.t.Helper()
	if _, err := e.Pool.Exec(e.t.Context(), movesSQL(record), pgx.QueryExecModeSimpleProtocol); err != nil {
		e.t.Fatalf("watch changes of state: %v", err)
	}
}

// checkMoves fails the test for moves that the tables do not have.
func (e *Engine) checkMoves() {
	e.t.Helper()
	for _, m := range e.moves(false) {
		e.t.Errorf("%s: this change of state, or a claim number that goes back, is in no table of package state", m)
	}
}

// Moves returns every change of state of tasks and steps so far, as in
// "step: pending → enqueued", once each; the engine must record them.
func (e *Engine) Moves() []string {
	e.t.Helper()
	return e.moves(true)
}

func (e *Engine) moves(allowed bool) []string {
	e.t.Helper()
	ctx := context.WithoutCancel(e.t.Context()) // it also runs in clean-ups
	rows, _ := e.Pool.Query(ctx, `select what, move from tasker_test.moves where allowed = $1 group by what, move order by what, move`, allowed)
	moves, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var what, move string
		err := row.Scan(&what, &move)
		from, to, _ := strings.Cut(move, ">")
		return what + ": " + state.Pair{From: from, To: to}.String(), err
	})
	if err != nil {
		e.t.Errorf("read changes of state: %v", err)
	}
	return moves
}
