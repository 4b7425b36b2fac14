package config

import (
	"path"
	"slices"
	"strings"

	"github.com/tasker-systems/tasker-go/internal/tomltree"
)

// Code is a kind of problem. Codes are stable: none changes its meaning or is
// used for something else later.
type Code struct {
	Name   string `json:"code"`   // as problems print it: "unknown-key", "X1"
	Title  string `json:"title"`  // what is wrong, as a sentence without its full stop
	Effect string `json:"effect"` // what comes of it, where a problem does not say it better
	Fix    string `json:"fix"`    // what to do about it, where a problem does not say it better
}

// The effects that several kinds share.
const (
	noStart   = "no process starts with it"
	noFile    = "nothing in the file counts"
	noSetting = "the setting has no value, and no process starts"
)

// codes is every kind of problem. The rules X1 to X27 compare keys.
var codes = []Code{
	{"syntax", "The text is not TOML", noFile, "write it as TOML asks, https://toml.io"},
	{"duplicate-key", "A key or table is defined twice in one file", noFile, "keep one of the two"},
	{"shape-clash", "A key is a table in one layer and a scalar in another", "the layer below counts", "write the same kind of value in both layers"},
	{"bad-index", "A numbered table has another key than 0, 1, 2, …", noStart, "number the entries from 0, without gaps"},

	{"unknown-key", "A key has no meaning", "nothing reads it", "remove it; config explain lists the keys there are"},
	{"renamed-key", "A key has the name that an earlier layout gave it", "nothing reads it under this name", "use the name of now"},
	{"removed-key", "A key of an earlier layout is gone", "nothing reads it", "remove it"},
	{"wrong-file", "A table stands in the file of another section", "it is left out of account", "move it to its file"},
	{"legacy-layout", "Files have the v1 layout", "a later version will not take them", "rewrite them with tasker-cli config migrate"},
	{"mixed-layout", "Some files have the v1 layout and some the present one", noStart, "bring all files into the present layout"},
	{"landed-layout", "Files have the layout that the first Tasker shipped as its v2", noStart, "write them in the present layout; tasker-cli config init shows it"},
	{"legacy-conflict", "Two names of v1 set one key to different values", noStart, "keep one of the two"},
	{"bad-route", "A protected route of v1 has no method and path", noStart, `write "METHOD /path" = { auth_type = "bearer", required = true }`},
	{"missing-key", "A key without a default is absent", noSetting, "add it; every key of a section is required"},

	{"wrong-type", "A value is of another type than its key", noStart, "write a value of that type"},
	{"out-of-range", "A number, a length or a count is out of its bounds", noStart, "write a value within the bounds"},
	{"not-allowed", "A text is none of those that its key allows", noStart, "write one of them, letter by letter"},
	{"bad-url", "A text is not the URL that its key holds", noStart, "write a complete URL"},
	{"bad-permission", "A permission or a role is none that there is", "it would grant nothing", "use one that auth show-permissions lists, or a role of roles"},
	{"bad-address", "A text is not an address to listen at", noStart, "write host:port"},
	{"bad-name", "A name has characters that it must not have", noStart, "use other characters"},
	{"no-directory", "A directory does not exist on this machine", "no template can be found", "create it, or leave the key empty for the usual places"},
	{"unknown-breaker", "A circuit breaker is configured for a component that does not exist", "the table has no effect", "use the name of a component, or remove the table"},

	{"bad-placeholder", "A placeholder is not well formed", noStart, "write ${NAME}, ${NAME:-default}, ${NAME-default} or ${NAME:?message}"},
	{"forbidden-variable", "A placeholder names a variable that files may not use", noStart, "use one that config env lists"},
	{"unset-variable", "A variable without a default has no value", noSetting, "set it, or give a default: ${NAME:-default}"},
	{"two-sources", "A secret is given by a variable and by a file", "neither is taken", "unset one of the two variables"},
	{"unreadable-secret", "The file of a secret cannot be read", noSetting, "name a file that the process may read"},

	{"unknown-environment", "An environment has a name that there is not", "no overlay can be chosen", "use test, development or production"},
	{"environment-conflict", "Two places name different environments", noStart, "keep common.environment only"},
	{"no-overlay", "There is no directory for the environment", "the values of base apply", "create the directory, or choose another environment"},

	{"redundant-override", "An overlay says what the layer below says already", "none; the next change below is overridden by accident", "remove the line"},
	{"unmet-expectation", "A case of an assertion file is not as it expects", "config test fails", "change the configuration or the expectation"},

	{"X1", "The pool keeps more connections open than it may have", "the pool cannot be built", "lower min_connections or raise max_connections"},
	{"X2", "A batch is larger than any read may be", "reads are cut to max_batch_size", "lower the batch size or raise common.queues.max_batch_size"},
	{"X3", "The first wait is longer than the longest", "there is no wait that satisfies both", "lower initial_delay_ms or raise max_delay_ms"},
	{"X4", "The waits of the backoff contradict its bound, or each other", "retries come at other times than the list says", "write waits that grow up to max_backoff_seconds"},
	{"X5", "Work may take longer than its message is hidden", "slow work may be delivered twice", "lower processing_timeout_seconds or raise visibility_timeout_seconds"},
	{"X6", "A lease is longer than the claim that holds it", "a claim ends before its lease", "lower visibility_timeout_seconds or raise claim_timeout_seconds"},
	{"X7", "A threshold of staleness is longer than a task may live", "the threshold is never reached", "lower it or raise task_max_lifetime_hours"},
	{"X8", "A warning comes later than the limit it warns of", "the warning never comes", "lower the threshold or raise the limit"},
	{"X9", "The two deployment modes of the worker contradict each other", "the worker cannot say how it finds work", "write the same mode in both places"},
	{"X10", "Both web servers of one process listen at one address", "the second cannot listen", "give them different ports; TASKER_WEB_BIND_ADDRESS sets both, " +
		"TASKER_ORCHESTRATION_WEB_BIND_ADDRESS and TASKER_WORKER_WEB_BIND_ADDRESS may stand in the files instead"},
	{"X11", "Authentication lacks a sound key", "nobody could log in", "set TASKER_API_KEY or TASKER_JWT_PUBLIC_KEY and name it in its key, or set jwks_url or api_keys"},
	{"X12", "The orchestrator's queues have bad names, or the same one", "messages would be lost or mixed up", "give each queue a name of its own"},
	{"X13", "Two event systems have one id", "metrics and logs cannot tell them apart", "give each a system_id of its own"},
	{"X14", "An item is too old before it is old enough", "the poller never finds anything", "lower age_threshold_seconds or raise max_age_hours"},
	{"X15", "The environment asked for is not that of the files", "the values of another environment would apply", "set TASKER_ENV or common.environment right"},
	{"X16", "A setting suits a desk and not production", "the service is less safe or less quick than it could be", "override it in environments/production"},
	{"X17", "The worker may use more connections than the pool has", "it gets as many as the pool has", "lower max_database_connections or raise common.database.pool.max_connections"},
	{"X18", "A list of CORS allows nothing, or everything and more", "browsers are refused or the list is misleading", `write ["*"] alone to allow all, or set enabled = false`},
	{"X19", "The message backend is not there", "no message can be sent", "write the table common.queues.rabbitmq, or use pgmq"},
	{"X20", "Stale tasks go to a dead letter queue that does not take them", "they are not set aside", "enable the queue and its reason, or turn the action off"},
	{"X21", "A poller is enabled in a mode that does not poll", "the poller never starts", "turn it off, or choose Hybrid"},
	{"X22", "The pattern of queue names lacks a part, or has one too many", "queues would share a name", "write {namespace} and {name} once each"},
	{"X23", "The sections of a file are not those of the context", noStart, "generate the file for the context"},
	{"X24", "An interval or a batch is too large for what it works on", "it works late or in fits", "lower it, or raise what bounds it"},
	{"X26", "A number is infinite or none at all", noStart, "write a finite number"},
	{"X27", "A server that encrypts lacks its certificate", "it cannot start", "set cert_path and key_path, or set enabled = false"},
}

// Codes lists every kind of problem.
func Codes() []Code { return slices.Clone(codes) }

// FindCode returns the kind of problem of that name.
func FindCode(name string) (Code, bool) {
	i := slices.IndexFunc(codes, func(c Code) bool { return c.Name == name })
	if i < 0 {
		return Code{}, false
	}
	return codes[i], true
}

// finish says of every problem what became of a key that is not known, what
// comes of the fault and what to do about it, where that is not said yet, and
// puts the problems in order.
func finish(r *Report) {
	for i := range r.Problems {
		p := &r.Problems[i]
		switch p.Code {
		case "unknown-key":
			findFormerName(p)
		case "missing-key":
			if e := FindEntry(p.Key); e != nil && e.Base != "" {
				p.Fix = "add it, as in the shipped base: " + e.Name() + " = " + e.Base
			}
		}
		code, _ := FindCode(p.Code)
		if p.Effect == "" {
			p.Effect = code.Effect
		}
		if p.Fix == "" {
			p.Fix = code.Fix
		}
	}
	r.Sort()
}

// findFormerName looks whether an unknown key has a meaning in another layout,
// and in which file it belongs otherwise.
func findFormerName(p *Problem) {
	section := sectionOf(p.Pos)
	former, now, found := FindFormer(section, p.Key)
	if !found {
		former, found = findRemoved(p.Key)
	}
	switch {
	case found && now != "":
		p.Code, p.Message = "renamed-key", "is the name that "+string(former.Layout)+" has for "+now
		p.Instead, p.Effect, p.Fix = now, "", "write it as "+now
	case found:
		p.Code, p.Message = "removed-key", "is gone since "+string(former.Layout)+": "+former.Why
		p.Instead, p.Effect, p.Fix = "", "", ""
	}
	if meant, _, _ := strings.Cut(p.Instead, "."); section != "" && meant != "" && meant != section {
		p.Fix += ", in " + meant + ".toml"
	}
}

// sectionOf returns the section whose file a place is in, "" for a file of
// another name.
func sectionOf(at tomltree.Pos) string {
	name := strings.TrimSuffix(path.Base(at.File()), ".toml")
	if slices.Contains(ContextComplete.sections(), name) {
		return name
	}
	return ""
}
