package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A Webhook says where to send word of which events of which tasks.
type Webhook struct {
	ID        uuid.UUID
	URL       string
	Events    []string
	Namespace *string // of the template; nil: any
	Template  *string // its name; nil: any
	CreatedAt time.Time
}

const insertWebhookSQL = `
	insert into tasker.webhooks (webhook_id, url, secret, events, namespace, template)
	values ($1, $2, $3, $4, $5, $6)
	returning created_at`

// InsertWebhook stores a webhook with its secret and returns it as stored.
func InsertWebhook(ctx context.Context, db DB, w Webhook, secret string) (Webhook, error) {
	err := db.QueryRow(ctx, insertWebhookSQL, w.ID, w.URL, secret, w.Events, w.Namespace, w.Template).Scan(&w.CreatedAt)
	if err != nil {
		return Webhook{}, fmt.Errorf("store a webhook: %w", err)
	}
	return w, nil
}

const listWebhooksSQL = `
	select webhook_id, url, events, namespace, template, created_at
	from tasker.webhooks
	order by webhook_id`

// ListWebhooks returns all webhooks, oldest first, without their secrets.
func ListWebhooks(ctx context.Context, db DB) ([]Webhook, error) {
	rows, _ := db.Query(ctx, listWebhooksSQL) // CollectRows returns its error
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Webhook])
	if err != nil {
		return nil, fmt.Errorf("list webhooks: %w", err)
	}
	return found, nil
}

const deleteWebhookSQL = `delete from tasker.webhooks where webhook_id = $1`

// DeleteWebhook removes a webhook and its deliveries. It is [ErrNotFound] when
// there is none of the id.
func DeleteWebhook(ctx context.Context, db DB, id uuid.UUID) error {
	tag, err := db.Exec(ctx, deleteWebhookSQL, id)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("remove webhook %s: %w", id, err)
	}
	return nil
}

// The states of a delivery.
const (
	DeliveryPending   = "pending"
	DeliveryDelivered = "delivered"
	DeliveryDead      = "dead" // given up
)

// A StoredDelivery is how a delivery stands.
type StoredDelivery struct {
	ID         uuid.UUID
	Task       uuid.UUID
	Event      string
	State      string
	Attempts   int
	DueAt      time.Time
	CreatedAt  time.Time
	FinishedAt *time.Time
	Status     *int    // of the last answer; nil: there was none
	Error      *string // of the last attempt
}

const listDeliveriesSQL = `
	select d.delivery_id, d.task_id, d.event, d.state, d.attempts, d.due_at, d.created_at, d.finished_at, d.status, d.error
	from tasker.webhooks w
	left join lateral (
		select *
		from tasker.webhook_deliveries d
		where d.webhook_id = w.webhook_id and ($2 = '' or d.state = $2)
		order by d.created_at desc, d.delivery_id
		limit $3
	) d on true
	where w.webhook_id = $1`

// ListDeliveries returns the deliveries of a webhook, newest first: those in a
// state, or all when it is empty. It is [ErrNotFound] when there is no such
// webhook.
func ListDeliveries(ctx context.Context, db DB, webhook uuid.UUID, state string, limit int) ([]StoredDelivery, error) {
	rows, _ := db.Query(ctx, listDeliveriesSQL, webhook, state, limit) // collectDeliveries returns its error
	found, exists, err := collectDeliveries(rows)
	if err == nil && !exists {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("list deliveries of webhook %s: %w", webhook, err)
	}
	return found, nil
}

// collectDeliveries reads deliveries of which what they belong to, if it exists,
// has at least a row, and be it of nulls.
func collectDeliveries(rows pgx.Rows) (found []StoredDelivery, exists bool, err error) {
	found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (StoredDelivery, error) {
		exists = true
		var d StoredDelivery
		var id, task *uuid.UUID // null: there is none
		var event, state *string
		var attempts *int
		var due, created *time.Time
		err := row.Scan(&id, &task, &event, &state, &attempts, &due, &created, &d.FinishedAt, &d.Status, &d.Error)
		if id != nil {
			d.ID, d.Task, d.Event, d.State, d.Attempts, d.DueAt, d.CreatedAt = *id, *task, *event, *state, *attempts, *due, *created
		}
		return d, err
	})
	if len(found) == 1 && found[0].ID == uuid.Nil {
		found = nil
	}
	return found, exists, err
}

// ErrUnderWay says that a delivery is pending: it is sent anyway.
var ErrUnderWay = errors.New("the delivery is pending already")

// A delivery that is over is due again, as if it had never been tried. The claim
// number stays, so that a late answer to an earlier attempt counts no more.
const redeliverSQL = `
	with found as (
		select delivery_id, state
		from tasker.webhook_deliveries
		where webhook_id = $1 and delivery_id = $2
		for update
	), again as (
		update tasker.webhook_deliveries d
		set state = 'pending', attempts = 0, claim = d.claim + 1, due_at = clock_timestamp(), finished_at = null
		from found
		where d.delivery_id = found.delivery_id and found.state <> 'pending'
		returning d.*
	)
	select a.delivery_id, a.task_id, a.event, a.state, a.attempts, a.due_at, a.created_at, a.finished_at, a.status, a.error
	from found
	left join again a on true`

// Redeliver has a delivery that is over sent once more. It is [ErrNotFound] when
// the webhook has no such delivery, and [ErrUnderWay] when it is pending.
func Redeliver(ctx context.Context, db DB, webhook, delivery uuid.UUID) (StoredDelivery, error) {
	rows, _ := db.Query(ctx, redeliverSQL, webhook, delivery) // collectDeliveries returns its error
	again, exists, err := collectDeliveries(rows)
	switch {
	case err != nil:
	case !exists:
		err = ErrNotFound
	case len(again) == 0:
		err = ErrUnderWay
	}
	if err != nil {
		return StoredDelivery{}, fmt.Errorf("redeliver %s: %w", delivery, err)
	}
	return again[0], nil
}

// A Delivery is a claimed delivery.
type Delivery struct {
	ID       uuid.UUID
	Claim    int
	Attempts int // before this one
	Webhook  uuid.UUID
	URL      string
	Secret   string
	Event    string
	Payload  json.RawMessage
}

// claimDeliveriesSQL takes deliveries that are due, those that wait longest
// first. One whose claimer dies is due again when its lease has ended.
const claimDeliveriesSQL = `
	with due as materialized (
		select delivery_id
		from tasker.webhook_deliveries
		where state = 'pending' and due_at <= clock_timestamp()
		order by due_at
		limit $1
		for update skip locked
	), taken as (
		update tasker.webhook_deliveries d
		set due_at = clock_timestamp() + make_interval(secs => $2), claim = d.claim + 1
		from due
		where d.delivery_id = any (array[due.delivery_id])
		returning d.delivery_id, d.claim, d.attempts, d.webhook_id, d.event, d.payload
	)
	select t.delivery_id, t.claim, t.attempts, t.webhook_id, w.url, w.secret, t.event, t.payload
	from taken t
	join tasker.webhooks w on w.webhook_id = t.webhook_id`

// ClaimDeliveries takes up to limit deliveries that are due; nobody else gets
// them before lease has passed.
func ClaimDeliveries(ctx context.Context, db DB, limit int, lease time.Duration) ([]Delivery, error) {
	rows, _ := db.Query(ctx, claimDeliveriesSQL, limit, seconds(lease)) // CollectRows returns its error
	claimed, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Delivery])
	if err != nil {
		return nil, fmt.Errorf("claim webhook deliveries: %w", err)
	}
	return claimed, nil
}

// A DeliveryResult is what became of an attempt.
type DeliveryResult struct {
	ID     uuid.UUID
	Claim  int
	State  string        // pending: to be tried again
	Delay  time.Duration // before the next attempt
	Status int           // of the answer; 0: there was none
	Error  string        // empty: it was accepted
}

const finishDeliveriesSQL = `
	update tasker.webhook_deliveries d
	set attempts = d.attempts + 1, state = r.state, status = nullif(r.status, 0), error = nullif(r.error, ''),
		due_at = clock_timestamp() + make_interval(secs => r.delay),
		finished_at = case when r.state <> 'pending' then clock_timestamp() end
	from unnest($1::uuid[], $2::int[], $3::text[], $4::float8[], $5::int[], $6::text[])
		r (delivery_id, claim, state, delay, status, error)
	where d.delivery_id = any (array[r.delivery_id]) and d.claim = r.claim and d.state = 'pending'`

// FinishDeliveries notes what became of attempts. One whose claim was lost
// changes nothing.
func FinishDeliveries(ctx context.Context, db DB, results []DeliveryResult) error {
	n := len(results)
	ids, claims, statuses := make([]uuid.UUID, n), make([]int, n), make([]int, n)
	states, errs, delays := make([]string, n), make([]string, n), make([]float64, n)
	for i, r := range results {
		ids[i], claims[i], statuses[i], states[i], errs[i], delays[i] = r.ID, r.Claim, r.Status, r.State, r.Error, seconds(r.Delay)
	}
	if _, err := db.Exec(ctx, finishDeliveriesSQL, ids, claims, states, delays, statuses, errs); err != nil {
		return fmt.Errorf("note the ends of %d webhook deliveries: %w", n, err)
	}
	return nil
}

const nextDeliverySQL = `
	select exists (select from tasker.webhooks), extract(epoch from (
		select due_at
		from tasker.webhook_deliveries
		where state = 'pending'
		order by due_at
		limit 1
	) - clock_timestamp())::float8`

// NextDelivery returns whether there are webhooks, and how long until the next
// delivery is due, negative when none is pending.
func NextDelivery(ctx context.Context, db DB) (any bool, due time.Duration, err error) {
	var left *float64
	if err := db.QueryRow(ctx, nextDeliverySQL).Scan(&any, &left); err != nil {
		return false, 0, fmt.Errorf("look for webhook deliveries: %w", err)
	}
	if left == nil {
		return any, -1, nil
	}
	return any, max(0, time.Duration(*left*float64(time.Second))), nil
}

const dropDeliveriesSQL = `
	delete from tasker.webhook_deliveries
	where delivery_id in (
		select delivery_id
		from tasker.webhook_deliveries
		where finished_at < clock_timestamp() - make_interval(secs => $1)
		order by finished_at
		limit $2
		for update skip locked
	)`

// DropDeliveries removes up to limit deliveries that have been over for longer
// than age and returns how many.
func DropDeliveries(ctx context.Context, db DB, age time.Duration, limit int) (int, error) {
	tag, err := db.Exec(ctx, dropDeliveriesSQL, seconds(age), limit)
	if err != nil {
		return 0, fmt.Errorf("drop old webhook deliveries: %w", err)
	}
	return int(tag.RowsAffected()), nil
}
