package postgres

import (
	"context"
	"encoding/json"
	"fmt"
)

// saveCheckpointSQL replaces the checkpoint of a step whose claim holds, and
// notes when the last ten were saved.
const saveCheckpointSQL = `
	update tasker.steps s
	set checkpoint = jsonb_build_object(
		'value', $4::jsonb,
		'saves', coalesce((s.checkpoint->>'saves')::int, 0) + 1,
		'history', (
			select jsonb_agg(h.entry order by h.n)
			from jsonb_array_elements(
				jsonb_build_array(jsonb_build_object('at', clock_timestamp(), 'attempt', s.attempt)) || coalesce(s.checkpoint->'history', '[]')
			) with ordinality h (entry, n)
			where h.n <= 10
		)
	)
	where s.task_id = $1 and s.ordinal = $2 and s.claim = $3 and s.state = 'in_progress'`

// SaveCheckpoint keeps a checkpoint for the next attempt. It reports false when
// the claim is lost and nothing was kept.
func SaveCheckpoint(ctx context.Context, db DB, claim StepRef, checkpoint json.RawMessage) (bool, error) {
	tag, err := db.Exec(ctx, saveCheckpointSQL, claim.Task, claim.Ordinal, claim.Claim, string(checkpoint))
	if err != nil {
		return false, fmt.Errorf("save the checkpoint of step %s: %w", claim, err)
	}
	return tag.RowsAffected() == 1, nil
}
