package config

func (o *Orchestration) check(s scope) {
	o.Backoff.check(s.at("backoff"))
	o.System.Web.Auth.check(s.at("system.web.auth"))
	o.System.Web.CORS.check(s.at("system.web.cors"))
	o.System.Web.TLS.check(s.at("system.web.tls"))
	o.EventSystems.Orchestration.check(s.at("event_systems.orchestration"))
	o.EventSystems.TaskReadiness.check(s.at("event_systems.task_readiness"))
	o.StalenessDetection.check(s.at("staleness_detection"))
	o.checkDLQ(s)
	o.DecisionPoints.check(s.at("decision_points"))
}

// check applies X4.
func (b *Backoff) check(s scope) {
	for i, wait := range b.DefaultBackoff {
		if wait > b.MaxBackoff {
			s.fail("X4", "default_backoff_seconds max_backoff_seconds", "waits %d seconds after attempt %d, above max_backoff_seconds = %d", wait, i+1, b.MaxBackoff)
			return
		}
	}
	for i := 1; i < len(b.DefaultBackoff); i++ {
		if b.DefaultBackoff[i] < b.DefaultBackoff[i-1] {
			s.warn("X4", "default_backoff_seconds", "waits less after attempt %d than after the one before", i+1)
			return
		}
	}
}

// check applies X2, X3, X5 and X6.
func (e *EventSystem) check(s scope) {
	checkBatch(s.at("processing"), e.Processing.BatchSize)
	if b := e.Processing.Backoff; b.InitialDelay > b.MaxDelay {
		s.fail("X3", "processing.backoff.initial_delay_ms processing.backoff.max_delay_ms", "is %d, above max_delay_ms = %d", b.InitialDelay, b.MaxDelay)
	}
	t := e.Timing
	if t.ProcessingTimeout > t.VisibilityTimeout {
		s.warn("X5", "timing.processing_timeout_seconds timing.visibility_timeout_seconds",
			"is %d, above visibility_timeout_seconds = %d", t.ProcessingTimeout, t.VisibilityTimeout)
	}
	if t.VisibilityTimeout > t.ClaimTimeout {
		s.warn("X6", "timing.visibility_timeout_seconds timing.claim_timeout_seconds",
			"is %d, above claim_timeout_seconds = %d", t.VisibilityTimeout, t.ClaimTimeout)
	}
}

// checkBatch applies the second half of X2 to the batch_size of a table that
// reads queues.
func checkBatch(s scope, size int) {
	if most := s.cfg.Common.Queues.MaxBatchSize; size > most && !s.isUnsure("common.queues.max_batch_size") {
		s.warn("X2", "batch_size", "is %d, above common.queues.max_batch_size = %d, which bounds it", size, most)
	}
}

// check applies X7 and the first half of X24.
func (d *StalenessDetection) check(s scope) {
	t := d.Thresholds
	shortest := t.StepsInProcess
	for _, m := range []struct {
		key string
		age Minutes
	}{
		{"steps_in_process_minutes", t.StepsInProcess},
		{"waiting_for_dependencies_minutes", t.WaitingForDependencies},
		{"waiting_for_retry_minutes", t.WaitingForRetry},
	} {
		shortest = min(shortest, m.age)
		if m.age.Duration() > t.TaskMaxLifetime.Duration() {
			s.fail("X7", "thresholds."+m.key+" thresholds.task_max_lifetime_hours",
				"is %d minutes, above task_max_lifetime_hours = %d", m.age, t.TaskMaxLifetime)
		}
	}
	if d.Enabled && d.DetectionInterval.Duration() > shortest.Duration() {
		s.warn("X24", "detection_interval_seconds thresholds",
			"is %d, above the shortest threshold of %d minutes", d.DetectionInterval, shortest)
	}
}

// checkDLQ applies X20.
func (o *Orchestration) checkDLQ(s scope) {
	d := o.DLQ
	if !d.Enabled && o.StalenessDetection.Actions.AutoMoveToDLQ {
		s.warn("X20", "staleness_detection.actions.auto_move_to_dlq dlq.enabled", "has no effect: there is no dead letter queue")
	}
	if !d.Enabled && d.AutoDLQOnStaleness {
		s.warn("X20", "dlq.auto_dlq_on_staleness dlq.enabled", "has no effect: there is no dead letter queue")
	}
	if d.AutoDLQOnStaleness && !d.Reasons.StalenessTimeout {
		s.warn("X20", "dlq.auto_dlq_on_staleness dlq.reasons.staleness_timeout", "has no effect: that reason makes no entries")
	}
}

// check applies X8.
func (d *DecisionPoints) check(s scope) {
	if d.WarnThresholdSteps > d.MaxStepsPerDecision {
		s.fail("X8", "warn_threshold_steps max_steps_per_decision", "is %d, above max_steps_per_decision = %d", d.WarnThresholdSteps, d.MaxStepsPerDecision)
	}
	if d.WarnThresholdDepth > d.MaxDecisionDepth {
		s.fail("X8", "warn_threshold_depth max_decision_depth", "is %d, above max_decision_depth = %d", d.WarnThresholdDepth, d.MaxDecisionDepth)
	}
}

func (w *Worker) check(s scope) {
	w.checkModes(s)
	w.System.FallbackPoller.FallbackPoller.check(s.at("system.fallback_poller"))
	w.EventSystem.EventSystem.check(s.at("event_system"))
	w.EventSystem.Metadata.FallbackPoller.check(s.at("event_system.metadata.fallback_poller"))
	checkBatch(s.at("system.queue_config"), w.System.QueueConfig.BatchSize)
	checkBatch(s.at("event_system.metadata.fallback_poller"), w.EventSystem.Metadata.FallbackPoller.BatchSize)
	w.checkCapacity(s)
	auth := Auth(w.System.Web.Auth)
	auth.check(s.at("system.web.auth"))
	w.System.Web.TLS.check(s.at("system.web.tls"))
}

// checkModes applies X9 and X21.
func (w *Worker) checkModes(s scope) {
	driven, mode := w.System.EventDriven, w.EventSystem.DeploymentMode
	if driven.DeploymentMode != mode {
		s.fail("X9", "system.event_driven.deployment_mode event_system.deployment_mode", "is %s, and event_system.deployment_mode is %s", driven.DeploymentMode, mode)
	}
	if !driven.Enabled && mode == EventDrivenOnly {
		s.fail("X9", "system.event_driven.enabled event_system.deployment_mode", "is false, and EventDrivenOnly leaves no other way to find work")
	}
	if mode == EventDrivenOnly && w.EventSystem.Metadata.FallbackPoller.Enabled {
		s.warn("X21", "event_system.metadata.fallback_poller.enabled event_system.deployment_mode", "has no effect: EventDrivenOnly does not poll")
	}
}

// check applies X14.
func (p *FallbackPoller) check(s scope) {
	if p.AgeThreshold.Duration() >= p.MaxAge.Duration() {
		s.fail("X14", "age_threshold_seconds max_age_hours", "is %d seconds, not below max_age_hours = %d", p.AgeThreshold, p.MaxAge)
	}
}

// checkCapacity applies the second half of X24: one read must fit into the
// channel it goes to.
func (w *Worker) checkCapacity(s scope) {
	capacity := w.Channels.EventSystems.EventChannelBufferSize
	for _, b := range []struct {
		key  string
		size int
	}{
		{"system.queue_config.batch_size", w.System.QueueConfig.BatchSize},
		{"event_system.processing.batch_size", w.EventSystem.Processing.BatchSize},
		{"event_system.metadata.fallback_poller.batch_size", w.EventSystem.Metadata.FallbackPoller.BatchSize},
	} {
		if b.size > capacity {
			s.warn("X24", b.key+" mpsc_channels.event_systems.event_channel_buffer_size",
				"is %d, above event_channel_buffer_size = %d", b.size, capacity)
		}
	}
}

type namedLimits struct {
	key string
	ResourceLimits
}

// resourceLimits lists both sets of limits.
func (w *Worker) resourceLimits() []namedLimits {
	return []namedLimits{
		{"worker.system.resource_limits", w.System.ResourceLimits},
		{"worker.event_system.metadata.resource_limits", w.EventSystem.Metadata.ResourceLimits},
	}
}
