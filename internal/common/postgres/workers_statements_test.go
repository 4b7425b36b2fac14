package postgres

// workerStatements are those of the registry of processes.
func workerStatements() map[string]string {
	return map[string]string{
		"beatSQL":           beatSQL,
		"countWorkersSQL":   countWorkersSQL,
		"describeSystemSQL": describeSystemSQL,
		"dropWorkersSQL":    dropWorkersSQL,
		"findWorkerSQL":     findWorkerSQL,
		"listWorkersSQL":    listWorkersSQL,
		"stopWorkerSQL":     stopWorkerSQL,
	}
}
