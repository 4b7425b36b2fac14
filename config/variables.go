package config

import "slices"

// A Variable is a variable of the environment that has to do with configuration.
type Variable struct {
	Name string
	Doc  string // what it is for, as a sentence without its full stop

	// InFiles says that files may name it as ${NAME}. The others are read by the
	// programs themselves.
	InFiles bool
}

// variables are all of them, those of the files first.
var variables = []Variable{
	{"DATABASE_URL", "where the database is and who connects", true},
	{"TASKER_WEB_BIND_ADDRESS", "where the web server of a process listens", true},
	{"TASKER_ORCHESTRATION_WEB_BIND_ADDRESS", "where an orchestrator listens, beside a worker in one process", true},
	{"TASKER_WORKER_WEB_BIND_ADDRESS", "where a worker listens, beside an orchestrator in one process", true},
	{"TASKER_WORKER_ID", "the label of a worker", true},
	{"TASKER_TEMPLATE_PATH", "the directory of the task templates", true},
	{"TASKER_JWT_PRIVATE_KEY", "the PEM key that signs tokens", true},
	{"TASKER_JWT_PUBLIC_KEY", "the PEM key that checks tokens", true},
	{"TASKER_API_KEY", "the key that callers without a token present", true},
	{"RABBITMQ_URL", "the broker of the backend rabbitmq", true},
	{"TELEMETRY_ENDPOINT", "where metrics are pushed to", true},
	{"TRACING_ENDPOINT", "where traces are sent to", true},
	{"TASKER_ENV", "the environment, which chooses the overlay: test, development or production", true},
	{"TASKER_CONFIG_PATH", "one file to load, as config generate writes them", false},
	{"TASKER_CONFIG_ROOT", "a directory of layers to load", false},
	{"LOG_LEVEL", "how much is logged: debug, info, warn or error", false},
	{"LOG_FORMAT", "how it is written: text or json", false},
}

// Variables lists the variables of the environment that have to do with
// configuration. For each that a secret key names, NAME_FILE may name a file
// that holds the value.
func Variables() []Variable { return slices.Clone(variables) }

// AllowedVariables lists the variables that files may name.
func AllowedVariables() []string {
	var names []string
	for _, v := range variables {
		if v.InFiles {
			names = append(names, v.Name)
		}
	}
	return names
}
